//! Reads a server's certificate: its names, validity period and issuer.

use std::net::IpAddr;
use std::time::Duration;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// A parsed certificate.
pub(super) struct ServerCertificate(Certificate);

impl ServerCertificate {
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        Certificate::from_der(der.as_ref()).ok().map(ServerCertificate)
    }

    /// Returns whether it has version 1, which has no extensions. PostgreSQL's documentation shows how to
    /// create such certificates, and webpki does not support them.
    pub(super) fn is_version_1(&self) -> bool {
        self.0.tbs_certificate.version == x509_cert::Version::V1
    }

    /// Returns its public key in the form of TLS 1.3's raw public keys.
    pub(super) fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        Some(self.0.tbs_certificate.subject_public_key_info.to_der().ok()?.into())
    }

    /// Returns an error if `now` is outside of the validity period; `None` if it is within.
    pub(super) fn outside_dates(&self, now: UnixTime) -> Option<rustls::CertificateError> {
        let now = Duration::from_secs(now.as_secs());
        let validity = &self.0.tbs_certificate.validity;
        if now < validity.not_before.to_unix_duration() {
            Some(rustls::CertificateError::NotValidYet)
        } else if now > validity.not_after.to_unix_duration() {
            Some(rustls::CertificateError::Expired)
        } else {
            None
        }
    }

    /// Returns whether `issuer` signed it.
    pub(super) fn is_signed_by(
        &self,
        issuer: &ServerCertificate,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let check = || {
            let tbs = self.0.tbs_certificate.to_der().ok()?;
            let key = &issuer.0.tbs_certificate.subject_public_key_info;
            let key_algorithm = key.algorithm.to_der().ok()?;
            let algorithm = self.0.signature_algorithm.to_der().ok()?;
            let (key, signature) = (key.subject_public_key.as_bytes()?, self.0.signature.as_bytes()?);
            let fits = |a: &&&dyn SignatureVerificationAlgorithm| {
                is_sequence_of(&algorithm, &a.signature_alg_id())
                    && is_sequence_of(&key_algorithm, &a.public_key_alg_id())
            };
            let verifies =
                |a: &&dyn SignatureVerificationAlgorithm| a.verify_signature(key, &tbs, signature).is_ok();
            Some(algorithms.all.iter().filter(fits).any(verifies))
        };
        self.0.tbs_certificate.issuer == issuer.0.tbs_certificate.subject && check().unwrap_or(false)
    }

    /// Verifies a handshake's signature with the certificate's key and one of the algorithms.
    pub(super) fn verifies(
        &self,
        message: &[u8],
        signature: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let key = &self.0.tbs_certificate.subject_public_key_info;
        let (Ok(key_algorithm), Some(bits)) = (key.algorithm.to_der(), key.subject_public_key.as_bytes())
        else {
            return false;
        };
        algorithms
            .iter()
            .filter(|a| is_sequence_of(&key_algorithm, &a.public_key_alg_id()))
            .any(|a| a.verify_signature(bits, message, signature).is_ok())
    }

    /// Returns whether the certificate is for `host`. As in libpq, the common name counts only if there are
    /// no alternative names of the same type as the host.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let mut use_common_name = true;
        for name in self.alternative_names() {
            match name {
                GeneralName::DnsName(name) => {
                    use_common_name &= address.is_some();
                    if matches_name(name.as_str(), host) {
                        return true;
                    }
                }
                GeneralName::IpAddress(bytes) => {
                    use_common_name &= address.is_none();
                    if address.is_some_and(|ip| octets(ip) == bytes.as_bytes()) {
                        return true;
                    }
                }
                _ => {}
            }
        }
        use_common_name && self.common_name().is_some_and(|name| matches_name(&name, host))
    }

    fn alternative_names(&self) -> Vec<GeneralName> {
        let extensions = self.0.tbs_certificate.extensions.iter().flatten();
        extensions
            .filter(|e| e.extn_id == SUBJECT_ALT_NAME)
            .filter_map(|e| SubjectAltName::from_der(e.extn_value.as_bytes()).ok())
            .flat_map(|names| names.0)
            .collect()
    }

    fn common_name(&self) -> Option<String> {
        let attributes = self.0.tbs_certificate.subject.0.iter().flat_map(|rdn| rdn.0.iter());
        let mut names = attributes.filter(|a| a.oid == COMMON_NAME);
        String::from_utf8(names.next()?.value.value().to_vec()).ok()
    }

    /// Returns the names in the certificate, for messages.
    pub(super) fn names(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for name in self.alternative_names() {
            match name {
                GeneralName::DnsName(name) => names.push(name.as_str().to_owned()),
                GeneralName::IpAddress(bytes) => names.extend(shown_address(bytes.as_bytes())),
                _ => {}
            }
        }
        if names.is_empty() {
            names.extend(self.common_name());
        }
        names.join(", ")
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn shown_address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).to_string())
}

/// Returns whether the names are equal except for case. `*.` matches exactly one label.
fn matches_name(pattern: &str, host: &str) -> bool {
    if pattern.contains('\0') {
        return false;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((label, rest))) => {
            !domain.is_empty() && !label.is_empty() && domain.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}

/// Returns whether `der` is a SEQUENCE with exactly this content. Algorithm identifiers are short, so the
/// length is one byte.
fn is_sequence_of(der: &[u8], content: &[u8]) -> bool {
    matches!(der, [0x30, length, body @ ..] if usize::from(*length) == body.len() && body == content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_label() {
        assert!(matches_name("db.example.com", "DB.example.com"));
        assert!(matches_name("*.example.com", "db.example.com"));
        assert!(!matches_name("*.example.com", "a.db.example.com"));
        assert!(!matches_name("*.example.com", "example.com"));
        assert!(!matches_name("*", "db"));
        assert!(!matches_name("db.example.com\0.evil.com", "db.example.com"));
        assert!(!matches_name("*.", "db."));
    }
}
