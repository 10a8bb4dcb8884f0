//! The groups of commands, used by `--help` and by the references between manual pages.

/// The commands in the order of the help.
pub(crate) const GROUPS: &[(&str, &[&str])] = &[
    ("Backups", &["serve", "run", "check", "config"]),
    ("Dumps", &["dump", "dumpall"]),
    ("Stored backups", &["list", "status", "verify", "lifecycle"]),
    ("Restore", &["restore", "drill"]),
    ("Other", &["version", "completions", "man", "help"]),
];

/// Returns the other commands of the same group, for the references of a manual page.
pub(crate) fn neighbours(verb: &str) -> impl Iterator<Item = &'static str> {
    let group = GROUPS.iter().map(|(_, verbs)| *verbs).find(|verbs| verbs.contains(&verb));
    let own = verb.to_owned();
    group.unwrap_or_default().iter().copied().filter(move |other| *other != own && *other != "help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_the_others_of_the_group() {
        assert_eq!(neighbours("run").collect::<Vec<_>>(), ["serve", "check", "config"]);
        assert_eq!(neighbours("man").collect::<Vec<_>>(), ["version", "completions"]);
        assert_eq!(neighbours("show").count(), 0);
    }
}
