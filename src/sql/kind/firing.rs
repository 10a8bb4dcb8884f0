//! When triggers, event triggers and rules fire, depending on the session's `session_replication_role`.

use crate::sql::code::codes;

codes! {
    /// When a trigger, event trigger or rule fires.
    Firing("tgenabled, evtenabled or ev_enabled") {
        /// In all sessions except those of replication.
        Origin = 'O',
        /// Never.
        Disabled = 'D',
        /// Only in sessions of replication.
        Replica = 'R',
        /// In all sessions.
        Always = 'A',
    }
}

impl Firing {
    /// Returns the words of `ALTER`.
    pub(super) fn action(self) -> &'static str {
        match self {
            Firing::Origin => "ENABLE",
            Firing::Disabled => "DISABLE",
            Firing::Replica => "ENABLE REPLICA",
            Firing::Always => "ENABLE ALWAYS",
        }
    }
}
