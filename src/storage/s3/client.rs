//! Builds the S3 client with rustls and ring, so that the program contains only one TLS implementation.

use std::path::Path;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::proxy::ProxyRoute;
use super::retry::TransientFailures;
use super::watch::{LimitAnswers, WatchedClient};
use super::{Checksums, S3Config};
use crate::storage::StoreError;

/// Builds the client with this proxy configuration.
pub(super) async fn build(config: &S3Config, route: ProxyConfig) -> Result<Client, StoreError> {
    let http = WatchedClient { inner: http_client(config, route)?, times: config.timeouts };
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .http_client(SharedHttpClient::new(http))
        .retry_config(RetryConfig::standard().with_max_attempts(config.attempts.max(1)))
        // For requests without a large body; requests with one have their own timeouts.
        .timeout_config(config.timeouts.small());
    if let Some(keys) = &config.credentials {
        loader = loader.credentials_provider(Credentials::new(
            keys.access_key_id.clone(),
            keys.secret_access_key.clone(),
            keys.session_token.clone(),
            None,
            "configuration",
        ));
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if config.checksums == Checksums::WhenRequired {
        loader = loader
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    let shared = loader.load().await;
    let s3 = aws_sdk_s3::config::Builder::from(&shared).force_path_style(config.path_style);
    let s3 = s3.retry_classifier(TransientFailures).interceptor(LimitAnswers).build();
    Ok(Client::from_conf(s3))
}

/// Builds the HTTP client. Plain HTTP with configured credentials does not need TLS, so no certificates are
/// loaded: an empty container has none.
fn http_client(config: &S3Config, route: ProxyConfig) -> Result<SharedHttpClient, StoreError> {
    let plain = config.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let trust = if plain && config.credentials.is_some() { None } else { Some(trust(config)?) };
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder().proxy_config(route.clone());
        if let Some(settings) = settings {
            builder = builder.connector_settings(settings.clone());
        }
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        match &trust {
            None => builder.build_http(),
            Some(trust) => {
                builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(trust.clone()).build()
            }
        }
    }))
}

/// Returns the route to the endpoint. The usual environment variables set a proxy, as in every AWS client.
pub(super) fn route(config: &S3Config) -> Result<ProxyRoute, StoreError> {
    let S3Config { bucket, region, .. } = config;
    let url = match &config.endpoint {
        None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        Some(endpoint) if config.path_style => endpoint.clone(),
        Some(endpoint) => endpoint.replacen("://", &format!("://{bucket}."), 1),
    };
    ProxyRoute::of_environment(&url)
}

/// Reads the trusted certificates. They are checked here because the client would panic on invalid ones.
fn trust(config: &S3Config) -> Result<TlsContext, StoreError> {
    let store = match &config.ca_file {
        Some(file) => TrustStore::empty().with_pem_certificate(read_certificates(file)?),
        None => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                return Err(StoreError::Settings {
                    message: "no CA certificates found\nHINT: set SSL_CERT_FILE to a file of CA certificates"
                        .to_owned(),
                });
            }
            TrustStore::default()
        }
    };
    TlsContext::builder().with_trust_store(store).build().map_err(|error| StoreError::Settings {
        message: format!("the CA certificates cannot be used: {error}"),
    })
}

fn read_certificates(file: &Path) -> Result<Vec<u8>, StoreError> {
    let pem = std::fs::read(file).map_err(|source| StoreError::File {
        operation: "read",
        path: file.display().to_string(),
        source,
    })?;
    let bad = || StoreError::Settings { message: format!("no certificates in {}", file.display()) };
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| bad())?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|_| bad())?;
    }
    if roots.is_empty() { Err(bad()) } else { Ok(pem) }
}
