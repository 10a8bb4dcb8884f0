//! A private mail server that stores every mail: aiosmtpd, in plain text or with TLS and a login.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::guard::{Dir, Guard};
use super::port;
use super::program::installed;
use super::tls::Certificates;

/// The user of the login, which the server requires with TLS.
pub const USER: &str = "backups@example.com";
/// The password of the login.
pub const PASSWORD: &str = "mail secret";

/// A running mail server.
pub struct MailServer {
    guard: Guard,
    port: u16,
    certificates: Certificates,
}

/// A mail as received.
#[derive(Debug)]
pub struct Mail {
    pub sender: String,
    pub recipients: Vec<String>,
    pub tls: bool,
    pub login: Option<String>,
    /// The header's lines, unfolded.
    pub header: Vec<String>,
    pub body: String,
}

impl Mail {
    /// Returns a header's value.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let line = self.header.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {:?}", self.header))
    }
}

impl MailServer {
    /// Starts a server in the mode `plain`, `starttls` or `implicit`.
    pub fn start(mode: &str) -> MailServer {
        for _ in 0..5 {
            match MailServer::try_start(mode) {
                Ok(server) => return server,
                Err(log) => eprintln!("the mail server did not start, trying another port:\n{log}"),
            }
        }
        panic!("the mail server did not start");
    }

    fn try_start(mode: &str) -> Result<MailServer, String> {
        let (dir, port) = (Dir::new(None), port::free());
        let certificates = Certificates::make(&dir);
        std::fs::create_dir(dir.join("mails")).expect("the temporary directory is writable");
        let python = installed("aiosmtpd/bin/python");
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/server.py"));
        command.args([mode, &port.to_string()]).arg(dir.join("mails"));
        command.arg(&certificates.certificate).arg(&certificates.key);
        let guard = Guard::start(dir, None, "KILL", &command).expect("sh starts");
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if guard.has_ended() || Instant::now() > deadline {
                return Err(guard.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(MailServer { guard, port, certificates })
    }

    /// Returns the host and port. The certificate is valid for this host.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Returns the path of the certificate authority's file.
    pub fn authority(&self) -> String {
        self.certificates.authority.display().to_string()
    }

    /// Returns the mails so far, in order.
    pub fn mails(&self) -> Vec<Mail> {
        let file = |number: u32| self.guard.dir().join(format!("mails/{number}.json"));
        let texts = (1..).map_while(|number| std::fs::read(file(number)).ok());
        texts.map(|text| mail(&serde_json::from_slice(&text).expect("the server writes JSON"))).collect()
    }
}

fn mail(kept: &Value) -> Mail {
    let text = |name: &str| kept[name].as_str().map(str::to_owned);
    let data = text("data").expect("a mail has text").replace("\r\n", "\n");
    let (header, body) = data.split_once("\n\n").expect("a mail has a header and a body");
    let header = header.replace("\n ", " ");
    Mail {
        sender: text("from").expect("somebody sent it"),
        recipients: serde_json::from_value(kept["to"].clone()).expect("somebody gets it"),
        tls: kept["tls"] == true,
        login: text("login"),
        header: header.lines().map(str::to_owned).collect(),
        body: body.to_owned(),
    }
}
