//! Implements libpq's TLS semantics with rustls: modes, files, and the configuration of a session.
//!
//! rustls always verifies chain and name. libpq verifies the chain only if there are root certificates, and
//! the name only in `verify-full`. [`verifier`] implements libpq's rules.

mod certificate;
mod verifier;

use std::fmt;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use verifier::ServerVerifier;

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only if the server requires it.
    Allow,
    /// TLS if the server supports it.
    Prefer,
    /// TLS; the chain is verified if there is a root certificate file.
    Require,
    /// TLS with a verified chain.
    VerifyCa,
    /// TLS with a verified chain and a matching host name.
    VerifyFull,
}

impl SslMode {
    const ALL: [(SslMode, &'static str); 6] = [
        (SslMode::Disable, "disable"),
        (SslMode::Allow, "allow"),
        (SslMode::Prefer, "prefer"),
        (SslMode::Require, "require"),
        (SslMode::VerifyCa, "verify-ca"),
        (SslMode::VerifyFull, "verify-full"),
    ];

    pub(super) fn parse(text: &str) -> Option<SslMode> {
        SslMode::ALL.iter().find(|(_, name)| *name == text).map(|(mode, _)| *mode)
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SslMode::ALL.iter().find(|(mode, _)| mode == self).map(|(_, name)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

/// The source of the trusted certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RootCertificates {
    /// The operating system's.
    System,
    /// A file; `None` for the default file if there is no home directory.
    File(Option<PathBuf>),
}

/// The TLS versions that rustls supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsVersion {
    V12,
    V13,
}

/// libpq's `ssl*` parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) mode: SslMode,
    pub(super) roots: RootCertificates,
    pub(super) certificate: Option<PathBuf>,
    /// Whether the certificate is required. It is not if the path is the default, which may be missing.
    pub(super) certificate_required: bool,
    pub(super) key: Option<PathBuf>,
    pub(super) revocations: Option<PathBuf>,
    pub(super) server_name_indication: bool,
    pub(super) min_version: TlsVersion,
    pub(super) max_version: TlsVersion,
}

/// A certificate or key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// The root certificate file does not exist, and the mode requires it.
    #[error(
        "root certificate file {} does not exist, but sslmode={mode} requires it\nHINT: set sslrootcert=FILE, or sslrootcert=system with sslmode=verify-full, or an sslmode without verification",
        path.display()
    )]
    NoRoots {
        /// The path.
        path: PathBuf,
        /// The mode.
        mode: SslMode,
    },
    /// The file cannot be read.
    #[error("cannot read {what} {}", path.display())]
    Unreadable {
        /// The expected content.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file has the wrong content; the text gives the reason.
    #[error("{what} {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The expected content.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The operating system has no certificates.
    #[error(
        "sslrootcert=system: no trusted certificates found{0}\nHINT: set SSL_CERT_FILE to a file of CA certificates"
    )]
    NoSystemRoots(String),
    /// rustls rejected the settings.
    #[error("the TLS settings cannot be used: {0}")]
    Settings(String),
}

const ROOTS: &str = "root certificate file";
const CERTIFICATE: &str = "client certificate file";
const KEY: &str = "private key file";
const REVOCATIONS: &str = "certificate revocation list file";

/// Returns the configuration for a session with this host. Reads the files anew.
///
/// `host` is the name that the certificate must have in `verify-full`.
pub(super) fn client_config(settings: &TlsSettings, host: &str) -> Result<ClientConfig, TlsFileError> {
    let refused = |error: rustls::Error| TlsFileError::Settings(error.to_string());
    let provider = Arc::new(ring::default_provider());
    let roots = trusted_certificates(settings)?;
    let revocations = revocation_lists(settings)?;
    let name = (settings.mode == SslMode::VerifyFull).then(|| host.to_owned());
    let verifier = ServerVerifier::new(roots, revocations, name, Arc::clone(&provider))
        .map_err(TlsFileError::Settings)?;

    let versions: Vec<_> =
        [(TlsVersion::V12, &rustls::version::TLS12), (TlsVersion::V13, &rustls::version::TLS13)]
            .into_iter()
            .filter(|(v, _)| *v >= settings.min_version && *v <= settings.max_version)
            .map(|(_, supported)| supported)
            .collect();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client_identity(settings)? {
        None => builder.with_no_client_auth(),
        Some((chain, key, path)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| TlsFileError::Unusable { what: CERTIFICATE, path, reason: error.to_string() })?,
    };
    config.enable_sni = settings.server_name_indication;
    Ok(config)
}

/// Returns the trusted certificates; `None` if the chain is not verified.
fn trusted_certificates(
    settings: &TlsSettings,
) -> Result<Option<Vec<CertificateDer<'static>>>, TlsFileError> {
    let path = match &settings.roots {
        RootCertificates::System => return system_certificates().map(Some),
        RootCertificates::File(path) => {
            path.clone().unwrap_or_else(|| PathBuf::from("~/.postgresql/root.crt"))
        }
    };
    let verifies = matches!(settings.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    if !path.exists() {
        return if verifies { Err(TlsFileError::NoRoots { path, mode: settings.mode }) } else { Ok(None) };
    }
    let roots = read_pem::<CertificateDer<'static>>(ROOTS, &path)?;
    if roots.is_empty() {
        let reason = "it contains no certificate in PEM format".to_owned();
        return Err(TlsFileError::Unusable { what: ROOTS, path, reason });
    }
    Ok(Some(roots))
}

fn system_certificates() -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(|e| format!(" ({e})")).unwrap_or_default();
        return Err(TlsFileError::NoSystemRoots(why));
    }
    Ok(found.certs)
}

/// Returns the revocation lists. As in libpq, there are none if the file does not exist.
fn revocation_lists(
    settings: &TlsSettings,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    match &settings.revocations {
        Some(path) if path.exists() => read_pem(REVOCATIONS, path),
        _ => Ok(Vec::new()),
    }
}

type ClientIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, PathBuf);

fn client_identity(settings: &TlsSettings) -> Result<Option<ClientIdentity>, TlsFileError> {
    let Some(path) = &settings.certificate else { return Ok(None) };
    if !path.exists() && !settings.certificate_required {
        return Ok(None);
    }
    let chain = read_pem::<CertificateDer<'static>>(CERTIFICATE, path)?;
    if chain.is_empty() {
        let reason = "it contains no certificate in PEM format".to_owned();
        return Err(TlsFileError::Unusable { what: CERTIFICATE, path: path.clone(), reason });
    }
    let Some(key_path) = &settings.key else {
        let reason = "no private key was given (sslkey)".to_owned();
        return Err(TlsFileError::Unusable { what: CERTIFICATE, path: path.clone(), reason });
    };
    Ok(Some((chain, private_key(key_path)?, path.clone())))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let unusable =
        |reason: &str| TlsFileError::Unusable { what: KEY, path: path.to_owned(), reason: reason.to_owned() };
    let metadata = std::fs::metadata(path).map_err(|source| unreadable(KEY, path, source))?;
    if !metadata.is_file() {
        return Err(unusable("it is not a regular file"));
    }
    let others = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    if metadata.permissions().mode() & others != 0 {
        return Err(unusable(
            "it has group or world access; it must have permissions u=rw (0600) or less, or u=rw,g=r (0640) if root owns it",
        ));
    }
    let bytes = std::fs::read(path).map_err(|source| unreadable(KEY, path, source))?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if contains(&bytes, b"ENCRYPTED PRIVATE KEY") => {
            Err(unusable("it is encrypted, which is not supported"))
        }
        Err(pem::Error::NoItemsFound) => Err(unusable("it contains no private key in PEM format")),
        Err(error) => Err(unusable(&error.to_string())),
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn read_pem<T: PemObject>(what: &'static str, path: &Path) -> Result<Vec<T>, TlsFileError> {
    let bytes = std::fs::read(path).map_err(|source| unreadable(what, path, source))?;
    T::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| TlsFileError::Unusable {
        what,
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn unreadable(what: &'static str, path: &Path, source: io::Error) -> TlsFileError {
    TlsFileError::Unreadable { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(mode: SslMode, root: Option<&Path>) -> TlsSettings {
        TlsSettings {
            mode,
            roots: RootCertificates::File(root.map(Path::to_owned)),
            certificate: None,
            certificate_required: false,
            key: None,
            revocations: None,
            server_name_indication: true,
            min_version: TlsVersion::V12,
            max_version: TlsVersion::V13,
        }
    }

    fn failure(settings: &TlsSettings) -> String {
        client_config(settings, "db").err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_the_verifying_modes_need_a_root_certificate() {
        let missing = Path::new("/nonexistent/root.crt");
        for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require] {
            assert_eq!(failure(&settings(mode, Some(missing))), "");
        }
        for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
            let text = failure(&settings(mode, Some(missing)));
            assert!(text.starts_with("root certificate file /nonexistent/root.crt does not exist"), "{text}");
        }
    }

    #[test]
    fn garbage_files_are_named_and_never_panic() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.pem");
        let begin = "-----BEGIN CERTIFICATE-----\n";
        for text in [
            "",
            "garbage",
            begin,
            "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&file, text).unwrap();
            let message = failure(&settings(SslMode::Require, Some(&file)));
            assert!(message.contains("bad.pem") || message.contains("certificate"), "{text:?}: {message}");
            let mut client = settings(SslMode::Require, None);
            client.certificate = Some(file.clone());
            client.certificate_required = true;
            assert!(!failure(&client).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn modes_print_as_they_are_written() {
        for (mode, name) in SslMode::ALL {
            assert_eq!(SslMode::parse(name), Some(mode));
            assert_eq!(mode.to_string(), name);
        }
        assert_eq!(SslMode::parse("verify"), None);
    }
}
