//! URLs to which messages are posted. The path is often the only secret of such a URL (Slack,
//! healthchecks.io), so only the scheme and the host are ever shown.

use std::fmt;

use hyper::Uri;

use super::Secret;
use super::error::ConfigError;
use super::vars::Vars;

/// URL to which messages are posted.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookEndpoint(Uri);

impl WebhookEndpoint {
    /// Reads the variable `name`.
    pub(super) fn read(vars: &Vars, name: &str) -> Result<Option<WebhookEndpoint>, ConfigError> {
        vars.get(name)?.map(|text| WebhookEndpoint::parse(name, text.trim())).transpose()
    }

    fn parse(name: &str, text: &str) -> Result<WebhookEndpoint, ConfigError> {
        let refused = |problem: &str, hint: &str| Err(ConfigError::new(name, problem, hint));
        let example = "use https://host/path or http://host:port/path";
        // A fragment is never sent to a server, so a `#` is a mistake in the value.
        let Ok(uri) = text.parse::<Uri>() else { return refused("is not a URL", example) };
        if text.contains('#') || !matches!(uri.scheme_str(), Some("https" | "http")) {
            return refused("is not an HTTP URL", example);
        }
        match uri.authority() {
            None => refused("has no host", example),
            Some(authority) if authority.as_str().contains('@') => {
                refused("contains a login", "remove it from the URL; set a token in its own variable")
            }
            Some(_) => Ok(WebhookEndpoint(uri)),
        }
    }

    /// Returns the whole URL for a request. It must not be shown.
    pub fn expose(&self) -> &Uri {
        &self.0
    }

    /// Returns whether the URL uses TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Returns the URL with `tail` appended to its path and `query` appended to its query.
    pub fn with(&self, tail: &str, query: &str) -> Uri {
        let path = self.0.path().trim_end_matches('/');
        let own = self.0.query().map(|own| format!("{own}&")).unwrap_or_default();
        let mut parts = self.0.clone().into_parts();
        parts.path_and_query = format!("{path}{tail}?{own}{query}").parse().ok();
        Uri::from_parts(parts).unwrap_or_else(|_| self.0.clone())
    }
}

/// Shows only the scheme and the host.
impl fmt::Display for WebhookEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map(|authority| authority.as_str()).unwrap_or_default();
        write!(f, "{}://{authority}", self.0.scheme_str().unwrap_or_default())
    }
}

impl fmt::Debug for WebhookEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self}/***)")
    }
}

/// A webhook: its URL and the credentials of its requests.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// URL of the webhook.
    pub url: WebhookEndpoint,
    /// Sent as `Authorization: Bearer …`.
    pub token: Option<Secret>,
    /// Key of the signature of each body.
    pub secret: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WebhookEndpoint, String> {
        WebhookEndpoint::parse("BACKUP_PING_URL", text).map_err(|error| error.to_string())
    }

    #[test]
    fn only_scheme_and_host_are_shown() {
        let endpoint = parse("https://hooks.example:8443/services/T0/s3cret?key=alsosecret").unwrap();
        assert_eq!(endpoint.to_string(), "https://hooks.example:8443");
        assert_eq!(format!("{endpoint:?}"), "Endpoint(https://hooks.example:8443/***)");
        assert_eq!(endpoint.expose().path(), "/services/T0/s3cret");
    }

    #[test]
    fn other_text_is_refused_without_showing_it() {
        for (text, problem) in [
            ("hooks.example/s3cret", "is not a URL"),
            ("/s3cret", "is not an HTTP URL"),
            ("ftp://hooks.example/s3cret", "is not an HTTP URL"),
            ("https://hooks.example/#s3cret", "is not an HTTP URL"),
            ("https://user:s3cret@hooks.example/", "contains a login"),
            ("https://a b/s3cret", "is not a URL"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, format!("BACKUP_PING_URL {problem}"), "{text}");
        }
    }

    #[test]
    fn a_path_and_a_query_can_be_added() {
        let with = |text: &str| parse(text).unwrap().with("/fail", "rid=1").to_string();
        assert_eq!(with("https://hc-ping.example/uuid"), "https://hc-ping.example/uuid/fail?rid=1");
        assert_eq!(with("https://hc-ping.example/uuid/"), "https://hc-ping.example/uuid/fail?rid=1");
        assert_eq!(with("http://h:80/a?create=1"), "http://h:80/a/fail?create=1&rid=1");
    }
}
