//! Decides which server certificates are accepted.
//!
//! webpki verifies the chains. It is stricter than libpq's library in two cases that matter in practice. This
//! module accepts both without skipping a check:
//! - a certificate that is itself in the root file (the usual self-signed one);
//! - a version 1 certificate signed directly by a trusted authority, as in PostgreSQL's documentation.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};

use super::certificate::ServerCertificate;

/// Verifies certificates by libpq's rules for one host.
pub(super) struct ServerVerifier {
    /// `None` accepts any chain.
    trust: Option<Trust>,
    /// The name that the certificate must have.
    name: Option<String>,
    provider: Arc<CryptoProvider>,
}

struct Trust {
    chain: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
    has_revocations: bool,
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The certificate is for a different host.
#[derive(Debug, thiserror::Error)]
#[error("it is for {names}, not for {host}")]
pub(super) struct WrongName {
    host: String,
    names: String,
}

impl ServerVerifier {
    pub(super) fn new(
        roots: Option<Vec<CertificateDer<'static>>>,
        revocations: Vec<CertificateRevocationListDer<'static>>,
        name: Option<String>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let trust = match roots {
            None => None,
            Some(certificates) => Some(Trust::new(certificates, revocations, &provider)?),
        };
        Ok(ServerVerifier { trust, name, provider })
    }

    fn check_name(&self, end_entity: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(host) = &self.name else { return Ok(()) };
        let certificate = parse(end_entity)?;
        if certificate.is_for(host) {
            return Ok(());
        }
        let wrong = WrongName { host: host.clone(), names: certificate.names() };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(wrong)))))
    }

    /// Verifies a TLS 1.2 signature by the key of a version 1 certificate, which webpki does not support.
    fn verify_version_1(
        &self,
        message: &[u8],
        certificate: &ServerCertificate,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let candidates = algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let (_, candidates) = candidates
            .ok_or(Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme))?;
        if certificate.verifies(message, dss.signature(), candidates) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }
}

impl Trust {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        revocations: Vec<CertificateRevocationListDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 {
            return Err("none of the root certificates can be read".to_owned());
        }
        let has_revocations = !revocations.is_empty();
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
            .with_crls(revocations)
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Trust { chain, certificates, has_revocations })
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
        provider: &CryptoProvider,
    ) -> Result<(), Error> {
        let certificate = parse(end_entity)?;
        let trusted_itself = self.certificates.iter().any(|c| c.as_ref() == end_entity.as_ref());
        if trusted_itself || (certificate.is_version_1() && !self.has_revocations) {
            return match certificate.outside_dates(now) {
                Some(error) => Err(Error::InvalidCertificate(error)),
                None if trusted_itself || self.is_signed(&certificate, now, provider) => Ok(()),
                None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            };
        }
        match self.chain.verify_server_cert(end_entity, intermediates, server_name, &[], now) {
            Ok(_) => Ok(()),
            // webpki checks the name last. libpq's rules decide about the name instead.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_signed(&self, certificate: &ServerCertificate, now: UnixTime, provider: &CryptoProvider) -> bool {
        let algorithms = &provider.signature_verification_algorithms;
        let issuers = self.certificates.iter().filter_map(ServerCertificate::parse);
        issuers
            .filter(|issuer| issuer.outside_dates(now).is_none())
            .any(|issuer| certificate.is_signed_by(&issuer, algorithms))
    }
}

const BAD_ENCODING: Error = Error::InvalidCertificate(CertificateError::BadEncoding);

fn parse(der: &CertificateDer<'_>) -> Result<ServerCertificate, Error> {
    ServerCertificate::parse(der).ok_or(BAD_ENCODING)
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            trust.verify(end_entity, intermediates, server_name, now, &self.provider)?;
        }
        self.check_name(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match ServerCertificate::parse(cert).filter(ServerCertificate::is_version_1) {
            None => {
                verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
            }
            Some(version_1) => self.verify_version_1(message, &version_1, dss),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match ServerCertificate::parse(cert).filter(ServerCertificate::is_version_1) {
            None => verify_tls13_signature(message, cert, dss, algorithms),
            Some(version_1) => {
                let key = version_1.public_key().ok_or(BAD_ENCODING)?;
                verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
