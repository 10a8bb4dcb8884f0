//! Implements `--if-exists`: adds `IF EXISTS` to the statement that drops an entry's object.

use super::entry_kind::EntryKind;

/// Returns the statement `drop` of an entry with `IF EXISTS` in the right place. The statement is unchanged
/// if its kind does not support that.
pub fn with_if_exists(kind: EntryKind, drop: &str) -> String {
    if drop.starts_with("--") {
        return drop.to_owned();
    }
    if matches!(kind, EntryKind::Blob | EntryKind::BlobMetadata | EntryKind::Blobs) {
        // A group has one statement for each large object.
        return drop
            .replace(
                "SELECT pg_catalog.lo_unlink('",
                "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '",
            )
            .replace("');\n", "';\n");
    }
    let (table, rest) = match drop.strip_prefix("ALTER TABLE") {
        Some(rest) => ("ALTER TABLE IF EXISTS", rest),
        None => ("", drop),
    };
    // A column's default has no IF EXISTS, and a view's rule is dropped by replacing the view with a dummy
    // view.
    if matches!(kind, EntryKind::Default | EntryKind::DatabaseProperties)
        || rest.starts_with("CREATE OR REPLACE VIEW")
    {
        return format!("{table}{rest}");
    }
    let is_constraint =
        matches!(kind, EntryKind::Constraint | EntryKind::CheckConstraint | EntryKind::FkConstraint);
    let verb = format!("DROP {}", if is_constraint { EntryKind::Constraint } else { kind });
    match rest.split_once(&verb) {
        Some((before, after)) => format!("{table}{before}{verb} IF EXISTS{after}"),
        None => format!("{table}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_place_for_if_exists() {
        for (kind, drop, expected) in [
            (EntryKind::Table, "DROP TABLE public.t;\n", "DROP TABLE IF EXISTS public.t;\n"),
            (
                EntryKind::FkConstraint,
                "ALTER TABLE ONLY public.t DROP CONSTRAINT f;\n",
                "ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT IF EXISTS f;\n",
            ),
            (
                EntryKind::Default,
                "ALTER TABLE public.t ALTER COLUMN a DROP DEFAULT;\n",
                "ALTER TABLE IF EXISTS public.t ALTER COLUMN a DROP DEFAULT;\n",
            ),
            (
                EntryKind::Rule,
                "CREATE OR REPLACE VIEW public.v AS SELECT 1;\n",
                "CREATE OR REPLACE VIEW public.v AS SELECT 1;\n",
            ),
            (EntryKind::Schema, "-- *not* dropping schema\n", "-- *not* dropping schema\n"),
            (
                EntryKind::Blob,
                "SELECT pg_catalog.lo_unlink('7');\n",
                "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '7';\n",
            ),
        ] {
            assert_eq!(with_if_exists(kind, drop), expected);
        }
    }
}
