//! A certificate authority for a test, and a server certificate for `localhost` and 127.0.0.1.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::run;

const CONFIG: &str = "
[req]
distinguished_name = name
prompt = no
[name]
CN = pg-backup tests
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,IP:127.0.0.1
";

/// The paths of the files, all in PEM format.
pub struct Certificates {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// Creates an authority and a server certificate in `dir`.
    pub fn make(dir: &Path) -> Certificates {
        let config = dir.join("openssl.cnf");
        fs::write(&config, CONFIG).expect("the directory is writable");
        let file = |name: &str| dir.join(name);
        let request = |section: &str, key: &Path, certificate: &Path| {
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-days", "7", "-nodes", "-newkey", "ec"]);
            command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-extensions", section]);
            command.arg("-config").arg(&config).arg("-keyout").arg(key).arg("-out").arg(certificate);
            command
        };
        let (authority, authority_key) = (file("ca.pem"), file("ca.key"));
        let (certificate, key) = (file("server.pem"), file("server.key"));
        let mut self_signed = request("authority", &authority_key, &authority);
        run(self_signed.args(["-subj", "/CN=pg-backup test authority"])).expect_success();
        let mut signed = request("server", &key, &certificate);
        signed.arg("-CA").arg(&authority).arg("-CAkey").arg(&authority_key);
        run(signed.args(["-subj", "/CN=localhost"])).expect_success();
        Certificates { authority, certificate, key }
    }
}
