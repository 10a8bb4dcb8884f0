//! The proxy that the environment sets, read as by curl and every AWS client: `HTTPS_PROXY`, `HTTP_PROXY`,
//! `ALL_PROXY`, `NO_PROXY`, in upper or lower case.

use std::fmt;

use aws_smithy_http_client::proxy::ProxyConfig;
use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use crate::storage::StoreError;

/// A proxy between this machine and the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// URL of the proxy, without a password.
    url: String,
    /// The variable that sets it.
    variable: &'static str,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {} ({})", self.url, self.variable)
    }
}

/// The route to the endpoint.
#[derive(Debug)]
pub(super) struct ProxyRoute {
    pub(super) proxy: Option<Proxy>,
    pub(super) config: ProxyConfig,
}

impl ProxyRoute {
    /// Finds the proxy for an endpoint's URL in the environment.
    pub(super) fn of_environment(endpoint: &str) -> Result<ProxyRoute, StoreError> {
        ProxyRoute::find(endpoint, |name| std::env::var(name).ok(), Matcher::from_env)
    }

    /// The same with the given variables. `matcher` must read the same variables.
    fn find(
        endpoint: &str,
        get: impl Fn(&str) -> Option<String>,
        matcher: impl FnOnce() -> Matcher,
    ) -> Result<ProxyRoute, StoreError> {
        let direct = || Ok(ProxyRoute { proxy: None, config: ProxyConfig::from_env() });
        let Ok(endpoint) = endpoint.parse::<Uri>() else { return direct() };
        let is_plain = endpoint.scheme_str() == Some("http");
        let own = if is_plain { ["HTTP_PROXY", "http_proxy"] } else { ["HTTPS_PROXY", "https_proxy"] };
        // If a variable is set in both cases, the first one counts, even if it is empty.
        let set = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, get(name)?)));
        let named = |names| set(names).filter(|(_, url)| !url.is_empty());
        let Some((variable, url)) = named(own).or_else(|| named(["ALL_PROXY", "all_proxy"])) else {
            return direct();
        };
        // Whether NO_PROXY excludes the endpoint does not depend on the protocol of the proxy.
        let rules = set(["NO_PROXY", "no_proxy"]).map(|(_, rules)| rules).unwrap_or_default();
        let asked = Matcher::builder().all("http://proxy".to_owned()).no(rules.clone()).build();
        if asked.intercept(&endpoint).is_none() {
            return direct();
        }
        let scheme = url.split_once("://").map_or("http", |(scheme, _)| scheme).to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            if variable.eq_ignore_ascii_case("ALL_PROXY") {
                // AWS's own clients ignore ALL_PROXY.
                tracing::warn!(
                    "{variable} names a {scheme} proxy, which is not used for requests to the store"
                );
                return Ok(ProxyRoute { proxy: None, config: ProxyConfig::disabled() });
            }
            return Err(StoreError::Settings {
                message: format!(
                    "{variable} names a {scheme} proxy, which cannot forward requests to the store\nHINT: use an HTTP proxy (http://host:port), or add the store's host to NO_PROXY"
                ),
            });
        }
        let intercept = matcher().intercept(&endpoint);
        let url = intercept.map(|found| found.uri().to_string()).unwrap_or_default();
        let url = url.trim_end_matches('/').to_owned();
        let proxy = Some(Proxy { url, variable }).filter(|proxy| !proxy.url.is_empty());
        Ok(ProxyRoute { proxy, config: ProxyConfig::from_env() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(endpoint: &str, variables: &[(&str, &str)]) -> Result<ProxyRoute, StoreError> {
        let get =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, url)| (*url).to_owned());
        let value = |name: &str| get(name).unwrap_or_default();
        let matcher = || {
            let (http, https) = (value("HTTP_PROXY"), value("HTTPS_PROXY"));
            Matcher::builder().all(value("ALL_PROXY")).http(http).https(https).no(value("NO_PROXY")).build()
        };
        ProxyRoute::find(endpoint, get, matcher)
    }

    #[test]
    fn the_proxy_is_named_by_its_variable_and_without_its_password() {
        fn shown(endpoint: &str, variables: &[(&str, &str)]) -> String {
            find(endpoint, variables).unwrap().proxy.map(|proxy| proxy.to_string()).unwrap_or_default()
        }
        let https = ("HTTPS_PROXY", "http://u:secret@p:3128");
        assert_eq!(shown("https://s3.example", &[https]), "proxy http://p:3128 (HTTPS_PROXY)");
        assert_eq!(shown("https://s3.example", &[("ALL_PROXY", "p:80")]), "proxy http://p:80 (ALL_PROXY)");
        assert_eq!(shown("http://s3.example", &[https]), "");
        assert_eq!(shown("https://s3.example", &[https, ("NO_PROXY", "example.org,s3.example")]), "");
        assert_eq!(shown("https://s3.example", &[]), "");
    }

    #[test]
    fn a_proxy_that_does_not_speak_http_is_refused_by_name_or_left_out() {
        let socks = "socks5://p:1080";
        let error = find("https://s3.example", &[("HTTPS_PROXY", socks)]).unwrap_err().to_string();
        assert!(error.starts_with("HTTPS_PROXY names a socks5 proxy, which cannot"), "{error}");
        let all = find("https://s3.example", &[("ALL_PROXY", socks)]).unwrap();
        assert!(all.proxy.is_none() && all.config.is_disabled());
        // HTTPS_PROXY does not apply to an HTTP endpoint, so its value is not refused.
        let other = find("http://s3.example", &[("HTTPS_PROXY", socks)]).unwrap();
        assert!(other.proxy.is_none() && other.config.is_from_env());
        find("https://s3.example", &[("HTTPS_PROXY", socks), ("NO_PROXY", "*")]).unwrap();
    }
}
