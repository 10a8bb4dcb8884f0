//! Parses connection URIs: `postgres://user:password@host:port,host:port/dbname?option=value`.

use super::ConnInfoError;

pub(super) fn is_uri(text: &str) -> bool {
    after_scheme(text).is_some()
}

fn after_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Returns the parameters of a URI, in order.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, ConnInfoError> {
    let mut pairs = Vec::new();
    let rest = take_user(after_scheme(text).unwrap_or(text), &mut pairs)?;
    let rest = take_hosts(rest, &mut pairs)?;
    let rest = match rest.strip_prefix('/') {
        None => rest,
        Some(path) => {
            let (database, rest) = split_at_any(path, &['?']);
            push_decoded(&mut pairs, "dbname", database)?;
            rest
        }
    };
    if let Some(query) = rest.strip_prefix('?') {
        take_query(query, &mut pairs)?;
    }
    Ok(pairs)
}

/// Parses `user:password@`. It is absent if there is no `@` before the first `/`.
fn take_user<'a>(text: &'a str, pairs: &mut Vec<(String, String)>) -> Result<&'a str, ConnInfoError> {
    let (before, after) = split_at_any(text, &['@', '/']);
    let Some(rest) = after.strip_prefix('@') else { return Ok(text) };
    let (user, password) = before.split_once(':').unwrap_or((before, ""));
    push_decoded(pairs, "user", user)?;
    push_decoded(pairs, "password", password)?;
    Ok(rest)
}

/// Parses `host:port,[v6]:port,…` up to `/` or `?`.
fn take_hosts<'a>(text: &'a str, pairs: &mut Vec<(String, String)>) -> Result<&'a str, ConnInfoError> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    let mut rest = text;
    loop {
        let (host, after) = take_host(rest)?;
        let (port, after) = match after.strip_prefix(':') {
            Some(after) => split_at_any(after, &['/', '?', ',']),
            None => ("", after),
        };
        // This text may be the rest of a password with an unescaped `/` or `@`, so the message must not
        // contain it.
        if !port.is_empty() && !decode(port)?.bytes().all(|b| b.is_ascii_digit() || b == b',') {
            return Err(syntax("the port in the connection URI is not a number", true));
        }
        if host.contains('@') {
            return Err(syntax("the host in the connection URI contains \"@\"", true));
        }
        hosts.push(host);
        ports.push(port);
        rest = after;
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    push_decoded(pairs, "host", &hosts.join(","))?;
    push_decoded(pairs, "port", &ports.join(","))?;
    Ok(rest)
}

fn take_host(text: &str) -> Result<(&str, &str), ConnInfoError> {
    let Some(inner) = text.strip_prefix('[') else { return Ok(split_at_any(text, &[':', '/', '?', ','])) };
    let Some((address, after)) = inner.split_once(']') else {
        return Err(syntax("the connection URI has \"[\" without \"]\"", false));
    };
    if address.is_empty() {
        return Err(syntax("the IPv6 address in the connection URI is empty", false));
    }
    if !(after.is_empty() || after.starts_with([':', '/', '?', ','])) {
        return Err(syntax("unexpected character after \"]\" in the connection URI", false));
    }
    Ok((address, after))
}

fn take_query(query: &str, pairs: &mut Vec<(String, String)>) -> Result<(), ConnInfoError> {
    // As in libpq, the last parameter may be followed by "&".
    let parameters = if query.is_empty() { None } else { Some(query.strip_suffix('&').unwrap_or(query)) };
    for parameter in parameters.into_iter().flat_map(|parameters| parameters.split('&')) {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(syntax("a parameter of the connection URI has no \"=\"", false));
        };
        if value.contains('=') {
            return Err(syntax("a parameter of the connection URI has a second \"=\"", false));
        }
        let (name, value) = (decode(name)?, decode(value)?);
        match (name.as_str(), value.as_str()) {
            // JDBC's spelling.
            ("ssl", "true") => pairs.push(("sslmode".to_owned(), "require".to_owned())),
            _ => pairs.push((name, value)),
        }
    }
    Ok(())
}

fn split_at_any<'a>(text: &'a str, stops: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(stops).unwrap_or(text.len()))
}

/// Adds a decoded value. An empty value is treated as not given.
fn push_decoded(pairs: &mut Vec<(String, String)>, name: &str, value: &str) -> Result<(), ConnInfoError> {
    if !value.is_empty() {
        pairs.push((name.to_owned(), decode(value)?));
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, ConnInfoError> {
    let bad = || syntax("the connection URI has a bad \"%\" escape", false);
    let mut bytes = Vec::with_capacity(text.len());
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(input.next()?).to_digit(16);
        let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
        let byte = u8::try_from(high * 16 + low).map_err(|_| bad())?;
        if byte == 0 {
            return Err(syntax("the connection URI contains \"%00\"", false));
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_| syntax("the connection URI is not UTF-8 after decoding", false))
}

fn syntax(text: &str, maybe_password: bool) -> ConnInfoError {
    let advice = if maybe_password {
        "\nHINT: in a user name or password, write \"@\" as %40, \":\" as %3A, \"/\" as %2F, \"?\" as %3F, \"%\" as %25"
    } else {
        ""
    };
    ConnInfoError::Syntax(format!("{text}{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(uri: &str) -> String {
        let pairs = parse(uri).unwrap();
        pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_part_may_be_missing() {
        assert_eq!(show("postgres://"), "");
        assert_eq!(show("postgresql://h"), "host=h");
        assert_eq!(show("postgres://u@h"), "user=u host=h");
        assert_eq!(show("postgres://u:p@/d"), "user=u password=p dbname=d");
        assert_eq!(show("postgres:///d"), "dbname=d");
        assert_eq!(show("postgres://:5433/"), "port=5433");
        assert_eq!(show("postgres://h?sslmode=disable"), "host=h sslmode=disable");
        assert_eq!(show("postgres:///d?host=/run/pg&port=1"), "dbname=d host=/run/pg port=1");
        assert_eq!(show("postgres:///d?"), "dbname=d");
        assert_eq!(show("postgres:///d?port=1&"), "dbname=d port=1");
        for parameters in ["&", "&port=1", "port=1&&host=h", "port=1&&"] {
            parse(&format!("postgres:///d?{parameters}")).unwrap_err();
        }
    }

    #[test]
    fn hosts_addresses_and_escapes() {
        assert_eq!(show("postgres://a:1,b:2,c/d"), "host=a,b,c port=1,2, dbname=d");
        assert_eq!(show("postgres://[2001:db8::1]:5/d"), "host=2001:db8::1 port=5 dbname=d");
        assert_eq!(show("postgres://%2Frun%2Fpg/d%20b"), "host=/run/pg dbname=d b");
        assert_eq!(show("postgres://o%40x:p%3A%2f%25@h/d"), "user=o@x password=p:/% host=h dbname=d");
        assert_eq!(show("postgres://h/d?ssl=true"), "host=h dbname=d sslmode=require");
        assert_eq!(show("postgres://h/d?options=-c%20geqo%3Doff"), "host=h dbname=d options=-c geqo=off");
    }

    #[test]
    fn broken_uris_never_show_a_password() {
        for uri in [
            "postgres://u:sec/ret@h/d",
            "postgres://u:sec@ret@h/d",
            "postgres://u:sec%zzret@h/d",
            "postgres://u:p@[::1/d",
            "postgres://u:p@[]/d",
            "postgres://u:p@h/d?secret",
            "postgres://u:p@h/d?a=secret=c",
            "postgres://h/%00",
            "postgres://h/%e9",
        ] {
            let text = parse(uri).unwrap_err().to_string();
            assert!(!text.contains("ret"), "{uri}: {text}");
        }
    }
}
