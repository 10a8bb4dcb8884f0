//! Implements `--if-exists`: adds `IF EXISTS` to the statement that drops an entry's object.

/// Returns the statement `drop` of an entry with `IF EXISTS` in the right place. The statement is unchanged
/// if its kind does not support that.
pub fn with_if_exists(desc: &str, drop: &str) -> String {
    if drop.starts_with("--") {
        return drop.to_owned();
    }
    if desc.starts_with("BLOB") {
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
    if matches!(desc, "DEFAULT" | "DATABASE PROPERTIES") || rest.starts_with("CREATE OR REPLACE VIEW") {
        return format!("{table}{rest}");
    }
    let verb = match desc {
        "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" => "DROP CONSTRAINT".to_owned(),
        desc => format!("DROP {desc}"),
    };
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
        for (desc, drop, expected) in [
            ("TABLE", "DROP TABLE public.t;\n", "DROP TABLE IF EXISTS public.t;\n"),
            (
                "FK CONSTRAINT",
                "ALTER TABLE ONLY public.t DROP CONSTRAINT f;\n",
                "ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT IF EXISTS f;\n",
            ),
            (
                "DEFAULT",
                "ALTER TABLE public.t ALTER COLUMN a DROP DEFAULT;\n",
                "ALTER TABLE IF EXISTS public.t ALTER COLUMN a DROP DEFAULT;\n",
            ),
            (
                "RULE",
                "CREATE OR REPLACE VIEW public.v AS SELECT 1;\n",
                "CREATE OR REPLACE VIEW public.v AS SELECT 1;\n",
            ),
            ("SCHEMA", "-- *not* dropping schema\n", "-- *not* dropping schema\n"),
            (
                "BLOB",
                "SELECT pg_catalog.lo_unlink('7');\n",
                "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '7';\n",
            ),
        ] {
            assert_eq!(with_if_exists(desc, drop), expected);
        }
    }
}
