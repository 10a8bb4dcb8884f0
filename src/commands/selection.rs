//! The selection options of pg_restore, and its error messages about them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::{ArgAction, Args};

use super::input::{read_whole, sections};
use crate::archive::required::EntryFilter;
use crate::error::{Error, Result};
use crate::protocol::encoding::from_bytes;
use crate::restore::select::RestoreSelection;
use crate::restore::select::list::UseList;

/// pg_restore's options that select what is restored, and with which properties.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selection")]
pub struct SelectionArgs {
    /// Restore only the data, no schema.
    #[arg(short = 'a', long)]
    pub(super) data_only: bool,
    /// Restore only the schema, no data.
    #[arg(short = 's', long)]
    pub(super) schema_only: bool,
    /// Restore only objects in this schema.
    #[arg(short = 'n', long, value_name = "NAME", allow_hyphen_values = true, action = ArgAction::Append)]
    pub(super) schema: Vec<OsString>,
    /// Do not restore objects in this schema.
    #[arg(short = 'N', long, value_name = "NAME", allow_hyphen_values = true, action = ArgAction::Append)]
    pub(super) exclude_schema: Vec<OsString>,
    /// Restore the named relation: a table with its rows, a view or a sequence.
    #[arg(short = 't', long, value_name = "NAME", allow_hyphen_values = true, action = ArgAction::Append)]
    pub(super) table: Vec<OsString>,
    /// Restore the named trigger; its name follows the name of its table, as in --list.
    #[arg(short = 'T', long, value_name = "TABLE NAME", allow_hyphen_values = true, action = ArgAction::Append)]
    pub(super) trigger: Vec<OsString>,
    /// Restore the named index.
    #[arg(short = 'I', long, value_name = "NAME", allow_hyphen_values = true, action = ArgAction::Append)]
    pub(super) index: Vec<OsString>,
    /// Restore the named function, with the types of its arguments as in --list.
    #[arg(short = 'P', long, value_name = "NAME(args)", allow_hyphen_values = true, action = ArgAction::Append)]
    pub(super) function: Vec<OsString>,
    /// Restore this section: pre-data, data or post-data.
    #[arg(long, value_name = "SECTION", allow_hyphen_values = true, action = ArgAction::Append)]
    pub(super) section: Vec<String>,
    /// Print the table of contents of the selection, and restore nothing.
    #[arg(short = 'l', long)]
    pub(super) list: bool,
    /// Restore the lines of --list that FILE contains, in its order.
    #[arg(short = 'L', long, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) use_list: Option<String>,
    /// Do not restore the ownership of objects.
    #[arg(short = 'O', long)]
    pub(super) no_owner: bool,
    /// Do not restore access privileges (grant/revoke).
    #[arg(short = 'x', long, alias = "no-acl")]
    pub(super) no_privileges: bool,
    /// Disable triggers while rows are restored into existing tables.
    #[arg(long)]
    pub(super) disable_triggers: bool,
    /// Superuser user name to use for disabling triggers.
    #[arg(short = 'S', long, value_name = "NAME", allow_hyphen_values = true)]
    pub(super) superuser: Option<OsString>,
    /// Do not restore comments.
    #[arg(long)]
    pub(super) no_comments: bool,
    /// Do not restore the rows of tables that could not be created.
    #[arg(long)]
    pub(super) no_data_for_failed_tables: bool,
    /// Do not restore publications.
    #[arg(long)]
    pub(super) no_publications: bool,
    /// Do not restore security labels.
    #[arg(long)]
    pub(super) no_security_labels: bool,
    /// Do not restore subscriptions.
    #[arg(long)]
    pub(super) no_subscriptions: bool,
    /// Do not restore table access methods.
    #[arg(long)]
    pub(super) no_table_access_method: bool,
    /// Do not restore tablespace assignments.
    #[arg(long)]
    pub(super) no_tablespaces: bool,
    /// Require each name of -n, -t, -I, -P and -T to match an object.
    #[arg(long)]
    pub(super) strict_names: bool,
}

impl SelectionArgs {
    /// Checks the options together with `--create` and `--clean`, and reads the file of `--use-list`.
    pub fn selection(&self, create: bool, clean: bool) -> Result<RestoreSelection> {
        let sections = sections(&self.section, "restore")?;
        let messages = [
            (
                self.data_only && self.schema_only,
                "options -s/--schema-only and -a/--data-only cannot be used together",
            ),
            (self.data_only && clean, "options -c/--clean and -a/--data-only cannot be used together"),
        ];
        if let Some((_, message)) = messages.into_iter().find(|(holds, _)| *holds) {
            return Err(Error::usage(message));
        }
        let use_list = self.use_list.as_deref().map(|path| read_whole(path, "TOC file")).transpose()?;
        Ok(RestoreSelection {
            switches: EntryFilter {
                create,
                data_only: self.data_only,
                schema_only: self.schema_only,
                sections,
                no_privileges: self.no_privileges,
                no_comments: self.no_comments,
                no_publications: self.no_publications,
                no_security_labels: self.no_security_labels,
                no_subscriptions: self.no_subscriptions,
            },
            schemas: names(&self.schema),
            exclude_schemas: names(&self.exclude_schema),
            tables: names(&self.table),
            indexes: names(&self.index),
            functions: names(&self.function),
            triggers: names(&self.trigger),
            strict_names: self.strict_names,
            use_list: use_list.map(UseList::new),
            no_owner: self.no_owner,
            no_tablespaces: self.no_tablespaces,
            no_table_access_method: self.no_table_access_method,
            disable_triggers: self.disable_triggers,
            superuser: self.superuser.as_ref().map(name),
            no_data_for_failed_tables: self.no_data_for_failed_tables,
        })
    }
}

/// Converts a name in any encoding to its form in the table of contents.
fn name(typed: &OsString) -> String {
    from_bytes(typed.as_bytes())
}

fn names(typed: &[OsString]) -> Vec<String> {
    typed.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SelectionArgs,
    }

    fn selection(line: &str, clean: bool) -> Result<RestoreSelection> {
        let words = std::iter::once("restore").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().args.selection(false, clean)
    }

    /// The messages are those that pg_restore 15 printed for the same arguments.
    #[test]
    fn complaints_are_those_of_pg_restore() {
        for (line, clean, message) in [
            ("-a -s", true, "options -s/--schema-only and -a/--data-only cannot be used together"),
            ("-a", true, "options -c/--clean and -a/--data-only cannot be used together"),
            ("--section foo", false, "unrecognized section name: \"foo\""),
            ("-L /nowhere", false, "could not open TOC file \"/nowhere\": No such file or directory"),
        ] {
            assert_eq!(selection(line, clean).unwrap_err().to_string(), message, "{line}");
        }
    }

    #[test]
    fn names_arrive_as_they_were_typed() {
        let selection =
            selection("-n a -n B -N c -t d -I e -P f(integer) -T -x --no-acl --section=data", false);
        let selection = selection.unwrap();
        assert_eq!(selection.schemas, ["a", "B"]);
        assert_eq!(
            (&selection.functions[..], &selection.triggers[..]),
            (&["f(integer)".into()][..], &["-x".into()][..])
        );
        assert!(selection.switches.no_privileges && !selection.no_owner);
        assert!(selection.switches.sections.data && !selection.switches.sections.pre_data);
        let latin1 = <OsString as std::os::unix::ffi::OsStringExt>::from_vec(b"t\xe9".to_vec());
        assert_eq!(name(&latin1), "t\u{10ffe9}");
    }
}
