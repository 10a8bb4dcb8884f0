//! libpq's reading of connection strings: `PQconninfoParse`, called by one Python program for all of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Reads hexadecimal strings, one per line, and answers with `refused`, or with names and values in hexadecimal.
const PROGRAM: &str = r#"
import ctypes, sys
class Option(ctypes.Structure):
    _fields_ = [(n, ctypes.c_char_p) for n in ("keyword", "envvar", "compiled", "val", "label", "dispchar")] + [("size", ctypes.c_int)]
libpq = ctypes.CDLL("libpq.so.5")
libpq.PQconninfoParse.restype = ctypes.POINTER(Option)
libpq.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
libpq.PQconninfoFree.argtypes = [ctypes.POINTER(Option)]
for line in sys.stdin:
    options = libpq.PQconninfoParse(bytes.fromhex(line.strip()), None)
    if not options:
        print("refused", flush=True)
        continue
    values, at = [], 0
    while options[at].keyword:
        if options[at].val is not None:
            values.append(options[at].keyword.decode() + "=" + options[at].val.hex())
        at += 1
    libpq.PQconninfoFree(options)
    print(" ".join(["read"] + values), flush=True)
"#;

/// The program.
pub struct Libpq {
    program: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Libpq {
    pub fn start() -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = command.spawn().expect("`make prepare` installs python3 and libpq");
        let questions = program.stdin.take().expect("it is piped");
        let answers = BufReader::new(program.stdout.take().expect("it is piped"));
        Libpq { program, questions, answers }
    }

    /// Parses a string without NUL; returns `None` if libpq refuses it.
    pub fn parse(&mut self, text: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let question: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.questions, "{question}").expect("libpq is asked");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("libpq answers");
        let mut words = answer.split_whitespace();
        let is_read = match words.next() {
            Some("read") => true,
            Some("refused") => false,
            _ => panic!("libpq does not answer: {answer:?}"),
        };
        let value = |hex: &str| {
            let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
            digits.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
        };
        let pairs = words.filter_map(|word| word.split_once('='));
        is_read.then(|| pairs.map(|(name, hex)| (name.to_owned(), value(hex))).collect())
    }
}

impl Drop for Libpq {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
