//! Globals → pg_dumpall's text: the frame around a cluster's dump, and its sections in order.

use super::{
    DatabaseName, GlobalOptions, Globals, database, membership, parameter, role, role_setting, tablespace,
};
use crate::sql::error::Result;
use crate::sql::put;
use crate::sql::script::{one_line, timestamp};

/// The data for the frame of a cluster's dump in addition to the globals.
#[derive(Clone, Debug)]
pub struct GlobalFrame {
    /// The encoding of the text.
    pub encoding: String,
    /// Whether backslashes in plain literals are ordinary characters.
    pub standard_strings: bool,
    /// For `--verbose`: the start time of the dump, formatted.
    pub started: String,
}

/// `IF EXISTS ` if requested.
pub(super) fn if_exists(options: &GlobalOptions) -> &'static str {
    if options.if_exists { "IF EXISTS " } else { "" }
}

impl Globals {
    /// Returns the text before the databases, one section per element.
    pub fn sections(&self, options: &GlobalOptions, frame: &GlobalFrame) -> Result<Vec<String>> {
        let mut sections = vec![head(options, frame)];
        if options.clean && !options.data_only {
            self.drops(options, &mut sections);
        }
        if options.wants_roles() {
            sections.push(self.role_section(options));
            let grants = membership::grants(&self.memberships, &self.quoting)?;
            sections.push(section("Role memberships", &grants));
            if !options.no_privileges {
                sections.push(self.parameter_section()?);
            }
        }
        if options.wants_tablespaces() {
            sections.push(self.tablespace_section(options)?);
        }
        sections.push(format!("\\unrestrict {}\n\n", options.restrict_key));
        if options.wants_databases() && !self.databases.is_empty() {
            sections.push(banner("Databases"));
        }
        Ok(sections)
    }

    /// Writes the DROP statements. They need no order of their own: databases never depend on each other, nor
    /// do tablespaces, and dropping a role also removes its memberships.
    fn drops(&self, options: &GlobalOptions, sections: &mut Vec<String>) {
        if options.wants_databases() {
            let drops = database::drops(&self.databases, &self.quoting, options);
            // template1 is in the list, so the title is written even if nothing is dropped.
            let title = "Drop databases (except postgres and template1)";
            let title = if self.databases.is_empty() { String::new() } else { banner(title) };
            sections.push(title + &drops + "\n\n");
        }
        if options.wants_tablespaces() {
            let drops = tablespace::drops(&self.tablespaces, &self.quoting, options);
            sections.push(section("Drop tablespaces", &drops));
        }
        if options.wants_roles() {
            sections.push(section("Drop roles", &role::drops(&self.roles, &self.quoting, options)));
        }
    }

    fn role_section(&self, options: &GlobalOptions) -> String {
        let create = |role| role::create(role, &self.passwords, &self.labels, &self.quoting, options);
        let mut sql: String = self.roles.iter().map(create).collect();
        let alters = role_setting::alters(&self.roles, &self.settings, self.dialect, &self.quoting);
        if !self.roles.is_empty() {
            sql.push_str("\n--\n-- User Configurations\n--\n");
        }
        sql += &alters;
        section("Roles", &sql)
    }

    fn parameter_section(&self) -> Result<String> {
        let grants = self.parameters.iter().map(|p| parameter::grants(p, self.dialect, &self.quoting));
        let sql = grants.collect::<Result<String>>()?;
        // A parameter may be listed after all privileges on it were revoked, so the title is written in any
        // case.
        let title = match self.parameters.is_empty() {
            true => String::new(),
            false => banner("Role privileges on configuration parameters"),
        };
        Ok(title + &sql + "\n\n")
    }

    fn tablespace_section(&self, options: &GlobalOptions) -> Result<String> {
        let create =
            |tablespace| tablespace::create(tablespace, &self.labels, self.dialect, &self.quoting, options);
        let sql = self.tablespaces.iter().map(create).collect::<Result<String>>()?;
        Ok(section("Tablespaces", &sql))
    }
}

/// Returns the text before a database's own dump. `postgres` and `template1` already exist in the target
/// cluster; their dumps connect to them only after creating them.
pub fn database_head(database: &DatabaseName, clean: bool) -> String {
    let mut head = banner(&format!("Database \"{}\" dump", one_line(&database.name)));
    if database.is_in_every_cluster() && !clean {
        put!(head, "\\connect {}\n\n", database.name);
    }
    head
}

/// Returns the text after all databases.
pub fn tail(options: &GlobalOptions) -> String {
    let completed = match options.verbose {
        true => format!("-- Completed on {}\n\n", timestamp()),
        false => String::new(),
    };
    completed + &banner("PostgreSQL database cluster dump complete")
}

fn head(options: &GlobalOptions, frame: &GlobalFrame) -> String {
    let mut head = banner("PostgreSQL database cluster dump");
    if options.verbose {
        put!(head, "-- Started on {}\n\n", frame.started);
    }
    put!(head, "\\restrict {}\n\n", options.restrict_key);
    // Read-only transactions may be the default of the role or the server.
    head.push_str("SET default_transaction_read_only = off;\n\n");
    put!(head, "SET client_encoding = '{}';\n", frame.encoding);
    head.push_str(match frame.standard_strings {
        true => "SET standard_conforming_strings = on;\n\n",
        false => "SET standard_conforming_strings = off;\nSET escape_string_warning = off;\n\n",
    });
    head
}

fn banner(title: &str) -> String {
    format!("--\n-- {title}\n--\n\n")
}

/// Returns a section with its title, or without one if the section is empty, followed by two blank lines.
fn section(title: &str, sql: &str) -> String {
    let title = if sql.is_empty() { String::new() } else { banner(title) };
    format!("{title}{sql}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(name: &str) -> DatabaseName {
        DatabaseName { name: name.to_owned(), is_excluded: false }
    }

    #[test]
    fn no_name_ends_a_comment() {
        assert_eq!(
            database_head(&database("a\nDROP ROLE x"), false),
            "--\n-- Database \"a DROP ROLE x\" dump\n--\n\n"
        );
    }

    #[test]
    fn what_is_not_created_is_connected_to() {
        assert!(database_head(&database("postgres"), false).ends_with("--\n\n\\connect postgres\n\n"));
        assert!(!database_head(&database("postgres"), true).contains("connect"));
    }

    #[test]
    fn old_string_syntax_is_restored_quietly() {
        let frame =
            GlobalFrame { encoding: "LATIN1".to_owned(), standard_strings: false, started: String::new() };
        let options = GlobalOptions { restrict_key: "k".to_owned(), ..GlobalOptions::default() };
        assert_eq!(
            head(&options, &frame),
            "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict k\n\n\
             SET default_transaction_read_only = off;\n\nSET client_encoding = 'LATIN1';\n\
             SET standard_conforming_strings = off;\nSET escape_string_warning = off;\n\n"
        );
    }
}
