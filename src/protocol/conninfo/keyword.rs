//! libpq's keywords with their environment variables, and whether they are supported.

/// The support for a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    /// Has the same effect as in libpq.
    Followed,
    /// Accepted without effect, because it tunes something that this program does not have.
    Ignored,
    /// Rejected with the reason, because ignoring it would not do what was requested.
    Refused(&'static str),
}

/// One keyword of a connection string.
#[derive(Debug)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) support: Support,
}

impl Keyword {
    pub(super) fn find(name: &str) -> Option<&'static Keyword> {
        KEYWORDS.iter().find(|k| k.name == name)
    }
}

const fn followed(name: &'static str, variable: Option<&'static str>) -> Keyword {
    Keyword { name, variable, support: Support::Followed }
}

const fn refused(name: &'static str, variable: Option<&'static str>, why: &'static str) -> Keyword {
    Keyword { name, variable, support: Support::Refused(why) }
}

const NEWER: &str = "it requires a libpq newer than 15";

pub(super) static KEYWORDS: &[Keyword] = &[
    followed("service", Some("PGSERVICE")),
    followed("user", Some("PGUSER")),
    followed("password", Some("PGPASSWORD")),
    followed("passfile", Some("PGPASSFILE")),
    followed("channel_binding", Some("PGCHANNELBINDING")),
    followed("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    followed("dbname", Some("PGDATABASE")),
    followed("host", Some("PGHOST")),
    followed("hostaddr", Some("PGHOSTADDR")),
    followed("port", Some("PGPORT")),
    followed("client_encoding", Some("PGCLIENTENCODING")),
    followed("options", Some("PGOPTIONS")),
    followed("application_name", Some("PGAPPNAME")),
    followed("fallback_application_name", None),
    followed("keepalives", None),
    followed("keepalives_idle", None),
    followed("keepalives_interval", None),
    followed("keepalives_count", None),
    followed("tcp_user_timeout", None),
    followed("sslmode", Some("PGSSLMODE")),
    followed("sslcert", Some("PGSSLCERT")),
    followed("sslkey", Some("PGSSLKEY")),
    followed("sslrootcert", Some("PGSSLROOTCERT")),
    followed("sslcrl", Some("PGSSLCRL")),
    followed("sslsni", Some("PGSSLSNI")),
    followed("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    followed("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    followed("gssencmode", Some("PGGSSENCMODE")),
    followed("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    Keyword { name: "sslcompression", variable: Some("PGSSLCOMPRESSION"), support: Support::Ignored },
    Keyword { name: "krbsrvname", variable: Some("PGKRBSRVNAME"), support: Support::Ignored },
    Keyword { name: "gsslib", variable: Some("PGGSSLIB"), support: Support::Ignored },
    refused("sslpassword", None, "encrypted private keys cannot be read"),
    refused("sslcrldir", Some("PGSSLCRLDIR"), "give the revocation lists in one file with sslcrl"),
    refused("requirepeer", Some("PGREQUIREPEER"), "the server's operating-system user is not checked"),
    refused("replication", None, "a replication connection cannot be dumped from"),
    refused("require_auth", Some("PGREQUIREAUTH"), NEWER),
    refused("sslcertmode", Some("PGSSLCERTMODE"), NEWER),
    refused("sslnegotiation", Some("PGSSLNEGOTIATION"), NEWER),
    refused("gssdelegation", Some("PGGSSDELEGATION"), NEWER),
    refused("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), NEWER),
];
