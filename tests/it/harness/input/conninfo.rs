//! Generated connection strings and URIs, service files and password files.
//!
//! The library and libpq read each string in the same way, and a string that is written and read again has the same
//! meaning. No error and no text for logs contains the password.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fastrand::Rng;
use pg_backup::protocol::{ConnInfo, Environment};
use tempfile::TempDir;

use super::libpq::Libpq;
use super::mutate::{BULK, blow_up, damage, one};
use super::{Target, Verdict, measured, within};

pub struct ConnInfos {
    libpq: Libpq,
    dir: TempDir,
}

pub struct Input {
    text: String,
    service: Vec<u8>,
    passfile: Vec<u8>,
    /// Whether the password is in its correct place, so that it must not be shown.
    has_password: bool,
}

const PASSWORD: &str = "Zq7Xw9";

const OWN: usize = 512 << 10;

/// Bytes of memory per byte of input: each comma in `host` adds a server of 200 bytes, three times while the
/// list grows.
const TIMES: usize = 1000;

impl Default for ConnInfos {
    fn default() -> Self {
        ConnInfos { libpq: Libpq::start(), dir: tempfile::tempdir().expect("a directory") }
    }
}

impl Target for ConnInfos {
    const NAME: &'static str = "conninfo";
    type Input = Input;

    fn generate(random: &mut Rng) -> Input {
        let mut text = if random.bool() { uri(random) } else { pairs(random) }.into_bytes();
        let has_password = random.bool();
        if !has_password {
            damage(random, &mut text, WORDS);
        }
        match random.u16(..1000) {
            0 if !has_password => blow_up(random, &mut text, BULK),
            1 => text.extend(one(random, &[&b" port=1"[..], b"&port=1"]).repeat(BULK / 8)),
            _ => {}
        }
        let mut service = services(random);
        let mut passfile = passwords(random);
        if random.bool() {
            damage(random, &mut service, WORDS);
            damage(random, &mut passfile, WORDS);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Input { text, service, passfile, has_password }
    }

    fn check(&mut self, input: &Input) -> Result<Verdict, String> {
        let text = input.text.as_str();
        let (read, mut peak) = measured(|| ConnInfo::parse(text));
        within(peak, OWN + TIMES * text.len(), "reading it")?;
        let read = read.map_err(|error| error.to_string());
        if let Err(error) = &read {
            self.hides(input, error)?;
        }
        self.same_as_libpq(text, read.as_ref())?;
        let Ok(info) = read else { return Ok(Verdict::new(false, peak)) };
        self.hides(input, &format!("{info:?}"))?;
        for again in [as_pairs(&info), as_uri(&info)] {
            match ConnInfo::parse(&again) {
                Ok(same) if same == info => {}
                other => return Err(format!("{again:?} is {other:?}, not {info:?}")),
            }
        }
        let environment = self.environment(input)?;
        let (resolved, taken) = measured(|| info.resolve(&environment));
        let size = text.len() + input.service.len() + input.passfile.len();
        within(taken, OWN + TIMES * size, "resolving it")?;
        peak = peak.max(taken);
        match &resolved {
            Ok(options) => {
                self.hides(input, &format!("{options} {options:?}"))?;
                if options.hosts().is_empty() || options.addresses().len() != options.hosts().len() {
                    return Err("it has no server".to_owned());
                }
            }
            Err(error) => self.hides(input, &error.to_string())?,
        }
        Ok(Verdict::new(resolved.is_ok(), peak))
    }

    fn bytes(input: &Input) -> Vec<u8> {
        let parts = [input.text.as_bytes(), &input.service, &input.passfile];
        parts.join(&b"\n---\n"[..])
    }
}

impl ConnInfos {
    fn hides(&self, input: &Input, shown: &str) -> Result<(), String> {
        match input.has_password && shown.contains(PASSWORD) {
            true => Err(format!("{:?} shows its password: {shown}", input.text)),
            false => Ok(()),
        }
    }

    fn same_as_libpq(&mut self, text: &str, ours: Result<&ConnInfo, &String>) -> Result<(), String> {
        if text.contains('\0') {
            return Ok(());
        }
        let theirs = self.libpq.parse(text);
        match (ours, theirs) {
            (Err(_), None) => Ok(()),
            (Ok(info), Some(theirs)) => {
                let values = info.names().map(|name| (name, info.get(name).unwrap_or_default()));
                let ours: BTreeMap<String, Vec<u8>> =
                    values.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
                if ours == theirs {
                    return Ok(());
                }
                Err(format!("{text:?} is {info:?}, and libpq reads {theirs:?}"))
            }
            (Ok(info), None) => Err(format!("libpq refuses {text:?}, and it is read as {info:?}")),
            // Unsupported options, text that is not UTF-8, and unescaped `/` or `@` of a password are refused earlier.
            (Err(error), Some(_))
                if ["is not supported", "is not UTF-8", "is not a number", "contains \"@\""]
                    .iter()
                    .any(|known| error.contains(known)) =>
            {
                Ok(())
            }
            (Err(error), Some(theirs)) => Err(format!("{text:?}: {error}, and libpq reads {theirs:?}")),
        }
    }

    fn environment(&self, input: &Input) -> Result<Environment, String> {
        let write = |name: &str, bytes: &[u8]| -> std::io::Result<PathBuf> {
            let path = self.dir.path().join(name);
            std::fs::write(&path, bytes)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(path)
        };
        let service = write("services", &input.service).map_err(|error| error.to_string())?;
        write(".pgpass", &input.passfile).map_err(|error| error.to_string())?;
        let file = service.to_string_lossy();
        let directory = self.dir.path().to_string_lossy();
        let variables = [("PGSERVICEFILE", &*file), ("PGSYSCONFDIR", &*directory)];
        Ok(Environment::of_variables(variables).with_account("me", self.dir.path()))
    }
}

/// Returns what was parsed from a string of pairs.
fn as_pairs(info: &ConnInfo) -> String {
    let value = |name| info.get(name).unwrap_or_default().replace('\\', "\\\\").replace('\'', "\\'");
    info.names().map(|name| format!("{name}='{}'", value(name))).collect::<Vec<_>>().join(" ")
}

/// Returns what was parsed from a URI.
fn as_uri(info: &ConnInfo) -> String {
    let value = |name| {
        info.get(name).unwrap_or_default().bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02x}");
            text
        })
    };
    let pairs: Vec<String> = info.names().map(|name| format!("{name}={}", value(name))).collect();
    format!("postgres://?{}", pairs.join("&"))
}

fn pairs(random: &mut Rng) -> String {
    let mut text = format!("password='{PASSWORD}'");
    for _ in 0..random.usize(..6) {
        let (name, value) = (one(random, KEYWORDS), one(random, VALUES));
        let equals = one(random, &["=", " = ", "= "]);
        text += &match random.u8(..3) {
            0 => format!(" {name}{equals}'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
            1 => format!("\t{name}{equals}{}", value.replace(' ', "\\ ").replace('\'', "\\'")),
            _ => format!(" {name}{equals}{value}"),
        };
    }
    text
}

fn uri(random: &mut Rng) -> String {
    // The last one is misspelled.
    let schemes = ["postgres://", "postgresql://", "postgres://", "postgresql://", "postgress://"];
    let scheme = one(random, &schemes);
    let mut text = format!("{scheme}{}:{PASSWORD}@", one(random, &["", "me", "o%40x", "%c3%a4"]));
    for at in 0..random.usize(..4) {
        text += if at > 0 { "," } else { "" };
        text += one(random, &["", "db", "[::1]", "%2Ftmp", "10.0.0.1", "h%20x"]);
        text += one(random, &["", ":1", ":5432", ":", ":65536"]);
    }
    text += one(random, &["", "/", "/d", "/d%20b", "/d/e"]);
    for at in 0..random.usize(..4) {
        let value: String = one(random, VALUES).replace('%', "%25").replace('=', "%3D").replace('&', "%26");
        write!(text, "{}{}={value}", if at == 0 { "?" } else { "&" }, one(random, KEYWORDS))
            .expect("a string is written to");
    }
    text
}

fn services(random: &mut Rng) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..random.usize(..8) {
        text += &match random.u8(..4) {
            0 => format!("[{}]\n", one(random, &["mine", "other", "", "mi]ne"])),
            1 => "# a comment\r\n".to_owned(),
            _ => format!("{}={}\n", one(random, KEYWORDS), one(random, VALUES)),
        };
    }
    text.into_bytes()
}

fn passwords(random: &mut Rng) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.usize(..6) {
        let fields = ["*", "localhost", "db", "5432", "me", "a\\:b", "\\\\", "", "d"];
        if random.bool() {
            text.extend(b"*:*:*:*:");
        } else {
            for _ in 0..random.usize(3..6) {
                text.extend(one(random, &fields).bytes());
                text.push(b':');
            }
        }
        text.extend(one(random, &[PASSWORD, "p\\:w\\\\d", "", "\\"]).bytes());
        text.extend(one(random, &["\n", "\r\n", "\u{fffd}\n", ""]).bytes());
    }
    text
}

const KEYWORDS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "dbname",
    "passfile",
    "options",
    "sslmode",
    "sslrootcert",
    "connect_timeout",
    "keepalives_idle",
    "tcp_user_timeout",
    "target_session_attrs",
    "channel_binding",
    "client_encoding",
    "application_name",
    "ssl_min_protocol_version",
    "gssencmode",
    "requiressl",
    "service",
    "sslcompression",
    "krbsrvname",
    "replication",
    "ssl",
    "Host",
    "nothing",
];

const VALUES: &[&str] = &[
    "",
    "db",
    "a,b,,c",
    "/tmp",
    "@abstract",
    "1",
    "0",
    "-1",
    "5432",
    "65536",
    "2147483648",
    "99999999999999999999",
    " 7 ",
    "1,2,3",
    "10.0.0.1,::1",
    "require",
    "verify-full",
    "system",
    "prefer",
    "disable",
    "any",
    "prefer-standby",
    "TLSv1.3",
    "auto",
    "mine",
    "true",
    "o'brien",
    "back\\slash",
    "-c geqo=off",
    "\u{e4}\u{1f600}",
    "100%",
];

/// Tokens that have a meaning in these texts.
const WORDS: &[&[u8]] = &[
    b"=",
    b"'",
    b"\\",
    b" ",
    b"\n",
    b"\t",
    b"\x0b",
    b":",
    b"@",
    b"/",
    b"?",
    b"&",
    b",",
    b"%",
    b"%00",
    b"%e9",
    b"%4",
    b"[",
    b"]",
    b"#",
    b"*",
    b"[mine]\n",
    b"service=mine ",
    b"postgres://",
    b"postgresql://",
    b"host=",
    b"hostaddr=",
    b"ssl=true",
    b"\0",
    b"\xff",
    b"\xc2\xa0",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
];
