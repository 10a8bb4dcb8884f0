//! TOC entries → pg_dump's plain text: the frame, the banners, the order of the passes, owners, tablespaces
//! and access methods. The text of an entry itself comes from `sql::emit`.
//!
//! Invariant: no name can end a comment line or start a psql command, whatever characters it has.

mod drops;
mod survey;

use std::collections::VecDeque;
use std::fmt::Arguments;

use super::dialect::RelationInAlterOwner;
use super::entries::{Backwards, Entries};
use super::ident::Quoting;
use super::large_object_script;
use super::{DumpOptions, DumpPlan, put};
use crate::archive::entry_kind::EntryKind;
use crate::archive::required::{EntryFilter, Required, RestorePass, SectionTracker};
use crate::archive::toc::TextRole;
use crate::archive::toc::{DumpId, EntryData, Piece, TocEntry};
pub use survey::Survey;

/// The data for a script's frame in addition to the entries.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The full `server_version`.
    pub server_version: String,
    /// The text after "Dumped by".
    pub dumped_by: String,
    /// The encoding of the text.
    pub encoding: String,
    /// The rules for quoting names and strings.
    pub quoting: Quoting,
    /// For `--verbose`: the start time of the dump, formatted.
    pub started: String,
}

/// The text of a dump, piece by piece; only one entry's text is in memory at a time.
#[derive(Debug)]
pub struct Script<'a> {
    plan: &'a DumpPlan,
    options: &'a DumpOptions,
    switches: EntryFilter,
    frame: Frame,
    /// Whether no definition is written: because of `--data-only`, or because no definition is selected.
    data_only: bool,
    stage: ScriptStage<'a>,
    ready: VecDeque<Piece>,
    state: ScriptState,
    /// For `--verbose`: the table whose triggers are enabled again after the pieces in `ready`.
    told_later: Option<String>,
}

#[derive(Debug)]
enum ScriptStage<'a> {
    Head,
    Drops(Backwards<'a>),
    /// Before the pass with this index.
    Between(usize),
    Entries {
        pass: usize,
        entries: Entries<'a>,
        sections: SectionTracker,
    },
    Tail,
    Done,
}

/// The session settings made by the statements written so far.
#[derive(Debug, Default)]
struct ScriptState {
    user: Option<String>,
    tablespace: Option<String>,
    table_am: Option<String>,
}

impl<'a> Script<'a> {
    /// Returns an iterator over the script of a plan.
    pub fn new(plan: &'a DumpPlan, frame: Frame) -> Self {
        Script {
            plan,
            options: &plan.options,
            switches: plan.options.switches(),
            frame,
            data_only: plan.options.data_only || !plan.survey.writes_definitions,
            stage: ScriptStage::Head,
            ready: VecDeque::new(),
            state: ScriptState::default(),
            told_later: None,
        }
    }

    /// Logs the next step if the dump is verbose.
    fn say(&self, line: Arguments<'_>) {
        self.options.progress.say(line);
    }

    fn text(&mut self, entry: Option<DumpId>, text: String) {
        self.text_as(TextRole::Body, entry, text);
    }

    fn text_as(&mut self, role: TextRole, entry: Option<DumpId>, text: String) {
        if !text.is_empty() {
            self.ready.push_back(Piece::Text { entry, role, text });
        }
    }

    fn advance(&mut self) {
        if let Some(table) = self.told_later.take() {
            self.say(format_args!("enabling triggers for {table}"));
        }
        match &mut self.stage {
            ScriptStage::Head => {
                if self.data_only && !self.options.data_only {
                    self.say(format_args!("implied data-only restore"));
                }
                let head = self.head();
                self.text(None, head);
                self.stage = if self.options.clean { self.drops() } else { ScriptStage::Between(0) };
            }
            ScriptStage::Drops(entries) => match entries.next() {
                Some(entry) => self.drop(&entry),
                None => self.stage = ScriptStage::Between(0),
            },
            ScriptStage::Between(pass) => {
                let pass = *pass;
                self.stage = self.begin_pass(pass);
            }
            ScriptStage::Entries { pass, entries, sections } => {
                let current = RestorePass::ALL.get(*pass);
                let Some(entry) = entries.next() else {
                    self.stage = ScriptStage::Between(*pass + 1);
                    return;
                };
                let key = entry.key();
                let wanted = key.wanted(sections.step(entry.section), &self.switches);
                if wanted.any() && current == Some(&key.pass()) {
                    self.entry(entry, wanted);
                }
            }
            ScriptStage::Tail => {
                let tail = self.tail();
                self.text(None, tail);
                self.stage = ScriptStage::Done;
            }
            ScriptStage::Done => {}
        }
    }

    /// Starts the walk over the entries for a pass, or moves to the next stage if the pass has no entry.
    fn begin_pass(&self, pass: usize) -> ScriptStage<'a> {
        match RestorePass::ALL.get(pass) {
            None => ScriptStage::Tail,
            Some(current) if !self.plan.survey.has(*current) => ScriptStage::Between(pass + 1),
            Some(_) => ScriptStage::Entries {
                pass,
                entries: self.plan.entries(),
                sections: SectionTracker::default(),
            },
        }
    }

    fn tail(&self) -> String {
        let mut tail = String::new();
        if self.options.verbose {
            put!(tail, "-- Completed on {}\n\n", timestamp());
        }
        tail.push_str("--\n-- PostgreSQL database dump complete\n--\n\n");
        put!(tail, "\\unrestrict {}\n\n", self.options.restrict_key);
        tail
    }

    fn head(&self) -> String {
        let mut head = "--\n-- PostgreSQL database dump\n--\n\n".to_owned();
        put!(head, "\\restrict {}\n\n", self.options.restrict_key);
        put!(head, "-- Dumped from database version {}\n", one_line(&self.frame.server_version));
        put!(head, "-- Dumped by {}\n\n", self.frame.dumped_by);
        if self.options.verbose {
            put!(head, "-- Started on {}\n\n", self.frame.started);
        }
        head + &self.settings()
    }

    /// The settings that all statements of the script depend on.
    fn settings(&self) -> String {
        let standard = self.frame.quoting.standard_strings();
        let timeouts = self.plan.catalog.dialect.timeouts;
        let mut sql: String = timeouts.iter().map(|timeout| format!("SET {timeout} = 0;\n")).collect();
        put!(sql, "SET client_encoding = '{}';\n", self.frame.encoding);
        put!(sql, "SET standard_conforming_strings = {};\n", if standard { "on" } else { "off" });
        sql.push_str(
            "SELECT pg_catalog.set_config('search_path', '', false);\n\
             SET check_function_bodies = false;\nSET xmloption = content;\nSET client_min_messages = warning;\n",
        );
        if !standard {
            sql.push_str("SET escape_string_warning = off;\n");
        }
        put!(sql, "SET row_security = {};\n\n", if self.options.enable_row_security { "on" } else { "off" });
        sql
    }

    fn entry(&mut self, mut entry: TocEntry, wanted: Required) {
        let mut sql = String::new();
        if wanted.schema {
            match &entry.namespace {
                Some(namespace) => {
                    self.say(format_args!("creating {} \"{namespace}.{}\"", entry.desc, entry.tag));
                }
                None => self.say(format_args!("creating {} \"{}\"", entry.desc, entry.tag)),
            }
            self.print(&mut sql, &entry, false);
            if entry.key().is_database() {
                self.say(format_args!("connecting to new database \"{}\"", entry.tag));
                self.reconnect(&mut sql, &entry.tag);
            }
        }
        if !wanted.data {
            return self.text(Some(entry.id), sql);
        }
        let Some(data) = entry.data.take() else {
            if !wanted.schema {
                self.say(format_args!("executing {} {}", entry.desc, entry.tag));
                self.print(&mut sql, &entry, false);
            }
            return self.text(Some(entry.id), sql);
        };
        self.print(&mut sql, &entry, true);
        let (copy, after) = self.around_data(&mut sql, &entry, &data);
        self.text(Some(entry.id), sql);
        self.text_as(TextRole::Copy, Some(entry.id), copy);
        let name = self.name_data(&entry, &data);
        self.ready.push_back(Piece::Data { entry: entry.id, name, data });
        self.text(Some(entry.id), after);
    }

    /// The name of the data for messages.
    fn name_data(&self, entry: &TocEntry, data: &EntryData) -> String {
        if matches!(data, EntryData::LargeObjects(_)) {
            return "the large objects".to_owned();
        }
        let name = self.frame.quoting.maybe_qualified(entry.namespace.as_deref(), &entry.tag);
        format!("table {name}")
    }

    /// Writes the text before an entry's data; returns the COPY statement and the text after the data.
    fn around_data(&mut self, sql: &mut String, entry: &TocEntry, data: &EntryData) -> (String, String) {
        if matches!(data, EntryData::LargeObjects(_)) {
            self.say(format_args!("processing {}", entry.desc));
            match data {
                EntryData::LargeObjects(Some(_)) => {
                    self.say(format_args!("saving large objects \"{}\"", entry.tag));
                }
                _ => self.say(format_args!("saving large objects")),
            }
            sql.push_str(large_object_script::BEGIN);
            return (String::new(), large_object_script::COMMIT.to_owned());
        }
        if self.switches_triggers() {
            self.say(format_args!("disabling triggers for {}", entry.tag));
            self.told_later = Some(entry.tag.clone());
        }
        self.triggers(sql, entry, "DISABLE");
        self.become_owner(sql, entry);
        let table =
            format_args!("table \"{}.{}\"", entry.namespace.as_deref().unwrap_or_default(), entry.tag);
        self.say(format_args!("processing data for {table}"));
        let (copy, mut after) = match data {
            EntryData::Copy(copy) => {
                self.say(format_args!("dumping contents of {table}"));
                (copy.statement.clone(), "\\.\n\n\n".to_owned())
            }
            EntryData::Inserts(_) | EntryData::LargeObjects(_) => (String::new(), "\n\n".to_owned()),
        };
        self.triggers(&mut after, entry, "ENABLE");
        (copy, after)
    }

    fn switches_triggers(&self) -> bool {
        self.data_only && self.options.disable_triggers
    }

    /// In a data-only dump, disables or enables triggers (including foreign keys) around the rows.
    fn triggers(&mut self, sql: &mut String, entry: &TocEntry, verb: &str) {
        if !self.switches_triggers() {
            return;
        }
        let superuser = self.options.superuser.clone().unwrap_or_default();
        self.become_user(sql, &superuser);
        let table = self.frame.quoting.maybe_qualified(entry.namespace.as_deref(), &entry.tag);
        put!(sql, "ALTER TABLE {table} {verb} TRIGGER ALL;\n\n");
    }

    /// Writes an entry's banner, statements and owner.
    fn print(&mut self, sql: &mut String, entry: &TocEntry, is_data: bool) {
        self.become_owner(sql, entry);
        self.select_tablespace(sql, entry);
        self.select_table_am(sql, entry);
        self.banner(sql, entry, is_data);
        // The `CREATE SCHEMA` statement names the owner, which `--no-owner` omits; the definition of `public`
        // is a comment.
        if self.options.no_owner && entry.desc == EntryKind::Schema && !entry.definition.starts_with("--") {
            put!(sql, "CREATE SCHEMA {};\n\n\n", self.frame.quoting.id(&entry.tag));
        } else if !entry.definition.is_empty() {
            put!(sql, "{}\n\n", entry.definition);
        }
        self.owner(sql, entry);
        if let Some(name) = entry.altered_table_am.as_deref().filter(|_| !self.options.no_table_access_method)
        {
            let table = self.frame.quoting.maybe_qualified(entry.namespace.as_deref(), &entry.tag);
            put!(sql, "ALTER TABLE {table} SET ACCESS METHOD {};\n\n", self.frame.quoting.id(name));
        }
        // The statements may have changed the session's role to the grantor.
        if entry.key().pass() == RestorePass::Acl {
            self.state.user = None;
        }
    }

    fn banner(&self, sql: &mut String, entry: &TocEntry, is_data: bool) {
        sql.push_str("--\n");
        if self.options.verbose {
            let id = entry.catalog_id;
            put!(sql, "-- TOC entry {} (class {} OID {})\n", entry.id, id.class, id.oid);
            if !entry.dependencies.is_empty() {
                sql.push_str("-- Dependencies:");
                for dependency in &entry.dependencies {
                    put!(sql, " {dependency}");
                }
                sql.push('\n');
            }
        }
        let owner = entry.owner.as_deref().filter(|_| !self.options.no_owner);
        put!(
            sql,
            "-- {}Name: {}; Type: {}; Schema: {}; Owner: {}",
            if is_data { "Data for " } else { "" },
            one_line(&entry.tag),
            entry.desc,
            entry.namespace.as_deref().map_or("-".into(), one_line),
            owner.map_or("-".into(), one_line),
        );
        if let Some(tablespace) = entry.tablespace.as_deref()
            && !tablespace.is_empty()
            && !self.options.no_tablespaces
        {
            put!(sql, "; Tablespace: {}", one_line(tablespace));
        }
        sql.push_str("\n--\n\n");
    }

    /// Writes `ALTER … OWNER TO` for kinds with an owner. An entry without a DROP statement has no owner of
    /// its own.
    fn owner(&self, sql: &mut String, entry: &TocEntry) {
        let Some(owner) = entry.owner.as_deref().filter(|o| !o.is_empty()) else { return };
        let by_comment = entry.desc == EntryKind::Schema && entry.definition.starts_with("--");
        if self.options.no_owner
            || (self.options.use_set_session_authorization && !by_comment)
            || entry.drop.is_empty()
        {
            return;
        }
        if entry.desc == EntryKind::BlobMetadata {
            let owner = self.frame.quoting.id(owner);
            for create in entry.definition.lines() {
                let oid = create.trim_start_matches("SELECT pg_catalog.lo_create('").trim_end_matches("');");
                put!(sql, "ALTER LARGE OBJECT {oid} OWNER TO {owner};\n");
            }
            sql.push('\n');
        }
        if let Some(object) = self.owned_object(entry) {
            put!(sql, "ALTER {object} OWNER TO {};\n\n", self.frame.quoting.id(owner));
        }
    }

    /// The object as `ALTER … OWNER TO` names it; `None` for kinds without an owner of their own.
    fn owned_object(&self, entry: &TocEntry) -> Option<String> {
        let quoting = &self.frame.quoting;
        match entry.desc {
            EntryKind::View | EntryKind::Sequence | EntryKind::MaterializedView => {
                let keyword = match self.plan.catalog.dialect.relation_in_alter_owner {
                    RelationInAlterOwner::Table => "TABLE",
                    RelationInAlterOwner::OwnKind => entry.desc.as_str(),
                };
                Some(format!("{keyword} {}", quoting.maybe_qualified(entry.namespace.as_deref(), &entry.tag)))
            }
            EntryKind::Collation
            | EntryKind::Conversion
            | EntryKind::Database
            | EntryKind::Domain
            | EntryKind::ProceduralLanguage
            | EntryKind::Schema
            | EntryKind::EventTrigger
            | EntryKind::Table
            | EntryKind::Type
            | EntryKind::ForeignTable
            | EntryKind::TextSearchDictionary
            | EntryKind::TextSearchConfiguration
            | EntryKind::ForeignDataWrapper
            | EntryKind::Server
            | EntryKind::Statistics
            | EntryKind::Publication
            | EntryKind::Subscription => {
                let name = quoting.maybe_qualified(entry.namespace.as_deref(), &entry.tag);
                Some(format!("{} {name}", entry.desc))
            }
            // The tag is a number, which must not be quoted as an identifier.
            EntryKind::Blob => Some(format!("LARGE OBJECT {}", entry.tag)),
            // These are named with their arguments, as in DROP.
            EntryKind::Aggregate
            | EntryKind::Function
            | EntryKind::Operator
            | EntryKind::OperatorClass
            | EntryKind::OperatorFamily
            | EntryKind::Procedure => {
                let object = entry.drop.strip_prefix("DROP ").unwrap_or(&entry.drop);
                Some(object.trim_end_matches(['\n', ';']).to_owned())
            }
            // pg_dump does not change the owner of these by name.
            EntryKind::AccessMethod
            | EntryKind::Acl
            | EntryKind::BlobMetadata
            | EntryKind::Blobs
            | EntryKind::Cast
            | EntryKind::CheckConstraint
            | EntryKind::Comment
            | EntryKind::Constraint
            | EntryKind::DatabaseProperties
            | EntryKind::Default
            | EntryKind::DefaultAcl
            | EntryKind::ExtendedStatisticsData
            | EntryKind::Extension
            | EntryKind::FkConstraint
            | EntryKind::Index
            | EntryKind::IndexAttach
            | EntryKind::MaterializedViewData
            | EntryKind::Policy
            | EntryKind::PublicationTable
            | EntryKind::PublicationTablesInSchema
            | EntryKind::RowSecurity
            | EntryKind::Rule
            | EntryKind::SecurityLabel
            | EntryKind::SequenceOwnedBy
            | EntryKind::SequenceSet
            | EntryKind::ShellType
            | EntryKind::StatisticsData
            | EntryKind::SubscriptionTable
            | EntryKind::TableAttach
            | EntryKind::TableData
            | EntryKind::TextSearchParser
            | EntryKind::TextSearchTemplate
            | EntryKind::Transform
            | EntryKind::Trigger
            | EntryKind::UserMapping => None,
        }
    }

    fn become_owner(&mut self, sql: &mut String, entry: &TocEntry) {
        if self.options.use_set_session_authorization && !self.options.no_owner {
            let owner = entry.owner.clone().unwrap_or_default();
            self.become_user(sql, &owner);
        }
    }

    /// Sets the session's user; an empty name means the user who runs the script.
    fn become_user(&mut self, sql: &mut String, user: &str) {
        if self.state.user.as_deref() == Some(user) {
            return;
        }
        let name = match user {
            "" => "DEFAULT".to_owned(),
            user => self.frame.quoting.literal(user).to_string(),
        };
        put!(sql, "SET SESSION AUTHORIZATION {name};\n\n");
        self.state.user = Some(user.to_owned());
    }

    fn select_tablespace(&mut self, sql: &mut String, entry: &TocEntry) {
        if self.options.no_tablespaces
            || entry.tablespace.is_none()
            || entry.tablespace == self.state.tablespace
        {
            return;
        }
        match entry.tablespace.as_deref() {
            None => {}
            Some("") => sql.push_str("SET default_tablespace = '';\n\n"),
            Some(name) => put!(sql, "SET default_tablespace = {};\n\n", self.frame.quoting.id(name)),
        }
        self.state.tablespace.clone_from(&entry.tablespace);
    }

    fn select_table_am(&mut self, sql: &mut String, entry: &TocEntry) {
        let Some(name) = entry.table_am.as_deref() else { return };
        if self.options.no_table_access_method || entry.table_am == self.state.table_am {
            return;
        }
        put!(sql, "SET default_table_access_method = {};\n\n", self.frame.quoting.id(name));
        self.state.table_am.clone_from(&entry.table_am);
    }

    /// Connects to the database that was just created. psql rejects its own commands between `\restrict` and
    /// `\unrestrict`, so the connect command needs `\unrestrict` before it.
    fn reconnect(&mut self, sql: &mut String, database: &str) {
        let key = &self.options.restrict_key;
        put!(
            sql,
            "\\unrestrict {key}\n{}\\restrict {key}\n\n",
            connect_command(&self.frame.quoting, database)
        );
        self.state = ScriptState::default();
        sql.push_str(&self.settings());
    }
}

impl Iterator for Script<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        while self.ready.is_empty() && !matches!(self.stage, ScriptStage::Done) {
            self.advance();
        }
        self.ready.pop_front()
    }
}

/// The current time in the format of pg_dump's verbose banners.
pub fn timestamp() -> String {
    crate::clock::now().to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Replaces line breaks, so that the text fits in a comment line.
pub(crate) fn one_line(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ").into() } else { text.into() }
}

/// psql's `\connect`. A name with characters other than letters, digits, `_` and `.` is passed as a
/// connection string.
fn connect_command(quoting: &Quoting, database: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if database.chars().all(plain) {
        return format!("\\connect {}\n", quoting.id(database));
    }
    let value = database.replace('\\', "\\\\").replace('\'', "\\'");
    let string = format!("dbname='{value}'");
    // The encoding of the name is unknown; with SQL_ASCII, psql passes it on unchanged.
    format!("\\encoding SQL_ASCII\n\\connect -reuse-previous=on {}\n", quoting.id(&string))
}
