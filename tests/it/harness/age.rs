//! Keys for age, and the stock `age` program that decrypts with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::{Output, run};
use super::restore::input;

/// A key pair in a temporary directory.
pub struct Key {
    dir: tempfile::TempDir,
    /// The public key, in the format of `BACKUP_AGE_RECIPIENTS`.
    pub recipient: String,
}

impl Key {
    /// Creates a key pair with `age-keygen`.
    pub fn of_age() -> Key {
        let dir = tempfile::tempdir().unwrap();
        run(Command::new("age-keygen").arg("-o").arg(dir.path().join("key"))).expect_success();
        let public = run(Command::new("age-keygen").arg("-y").arg(dir.path().join("key"))).expect_success();
        Key { dir, recipient: public.stdout_text().trim().to_owned() }
    }

    /// Creates a key pair of the kind `ed25519` or `rsa` with `ssh-keygen`.
    pub fn of_ssh(kind: &str, passphrase: &str) -> Key {
        let dir = tempfile::tempdir().unwrap();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", kind, "-N", passphrase, "-C", "somebody@somewhere", "-f"]);
        run(keygen.arg(dir.path().join("key"))).expect_success();
        let recipient = fs::read_to_string(dir.path().join("key.pub")).unwrap().trim().to_owned();
        Key { dir, recipient }
    }

    /// The file of the secret key.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    /// The path of that file as an argument.
    pub fn path(&self) -> String {
        self.file().to_str().expect("a temporary file's name is text").to_owned()
    }

    /// Runs `age -d` on encrypted bytes.
    pub fn decrypt(&self, sealed: &[u8]) -> Output {
        run(Command::new("age").arg("-d").arg("-i").arg(self.file()).stdin(input(sealed)))
    }

    /// Returns the decrypted content of a file.
    pub fn decrypt_file(&self, path: &Path) -> Vec<u8> {
        self.decrypt(&fs::read(path).unwrap()).expect_success().stdout
    }
}
