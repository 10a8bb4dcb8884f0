//! Runs a document. Its fenced blocks run in order, in one bash process or in one per block, and their output
//! is compared with the output that the document shows.
//!
//! | block | |
//! |---|---|
//! | `sh` | commands, run unchanged |
//! | `output` | the output of the `sh` block above, both streams, compared as [`shape`] describes |
//! | `console` | `$ command`, followed by its output, both streams, compared as [`shape`] describes |
//! | `sql` | run by psql if the test gives a database, otherwise text |
//! | `text`, `json`, `yaml`, `toml` | not commands |
//!
//! Any other block is an error, so no block is skipped silently. A command that exits with a code other than
//! 0 fails the document. If the code is expected, the document must handle it, as in `pg-backup status ||
//! echo "exit code $?"`. A block below `<!-- not run: why -->` is not run; a test lists all such blocks that
//! it accepts.

mod blocks;
mod shape;
mod shell;

use std::fmt;
use std::path::{Path, PathBuf};

use blocks::{Block, Commands, Content, Heading};
use shell::{Printed, Shell};

use super::program::without_settings;

/// A document, split into its blocks.
pub struct Document {
    name: String,
    blocks: Vec<Block>,
    headings: Vec<Heading>,
}

/// An error, with its place in the document.
#[derive(PartialEq, Eq)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prints the same text as `Display`, so that `unwrap` shows it in readable form.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

impl Document {
    /// Reads a file of the repository, for example `BACKUPS.md`.
    pub fn open(path: &str) -> Result<Document, Failure> {
        let file = repository().join(path);
        let text = std::fs::read_to_string(&file).map_err(|e| Failure(format!("{}: {e}", file.display())))?;
        Document::parse(path, &text)
    }

    /// Splits a text into its blocks.
    pub fn parse(name: &str, text: &str) -> Result<Document, Failure> {
        let (blocks, headings) =
            blocks::parse(text).map_err(|(line, what)| Failure(format!("{name}:{line}: {what}")))?;
        Ok(Document { name: name.to_owned(), blocks, headings })
    }

    /// Returns the anchors of all headings, as GitHub generates them.
    pub fn anchors(&self) -> Vec<String> {
        self.headings.iter().map(|heading| blocks::anchor(&heading.text)).collect()
    }

    /// Returns the blocks that are not run: the section of each and the reason.
    pub fn not_run(&self) -> Vec<(&str, &str)> {
        let reason = |block: &Block| block.not_run.is_some();
        let not_run = self.blocks.iter().filter(|block| reason(block));
        not_run
            .map(|block| (self.section(block.line), block.not_run.as_deref().unwrap_or_default()))
            .collect()
    }

    /// Returns the heading above a line.
    fn section(&self, line: usize) -> &str {
        let above = self.headings.iter().rev().find(|heading| heading.line < line);
        above.map_or("", |heading| &heading.text)
    }
}

/// Returns the anchors of a text without a check of its blocks, because none of them is run.
pub fn anchors(text: &str) -> Vec<String> {
    blocks::headings(text).iter().map(|heading| blocks::anchor(&heading.text)).collect()
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The environment of a document's commands.
#[derive(Default)]
pub struct Fixture {
    directory: PathBuf,
    environment: Vec<(String, String)>,
    path: Vec<PathBuf>,
    sql: Option<String>,
    shell_for_each_block: bool,
}

impl Fixture {
    /// Runs commands in this directory, without the caller's settings and without a home directory.
    pub fn in_directory(directory: &Path) -> Fixture {
        Fixture { directory: directory.to_owned(), ..Fixture::default() }
    }

    /// Sets a variable.
    pub fn set(mut self, name: &str, value: &str) -> Fixture {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a directory in front of `PATH`.
    pub fn with_path(mut self, directory: &Path) -> Fixture {
        self.path.push(directory.to_owned());
        self
    }

    /// Runs `sql` blocks with psql in the database of this connection string or URI. The shell expands
    /// variables in it when it runs the block.
    pub fn with_sql_in(mut self, database: &str) -> Fixture {
        self.sql = Some(database.to_owned());
        self
    }

    /// Runs each block in a new bash process, as in a new terminal: a block does not see the variables that
    /// another block set.
    pub fn with_a_shell_for_each_block(mut self) -> Fixture {
        self.shell_for_each_block = true;
        self
    }

    /// Starts a shell.
    fn shell(&self) -> Shell {
        let mut command = Shell::command();
        without_settings(&mut command).current_dir(&self.directory);
        // Without cargo's variables for the test's own package, because build scripts that check them would
        // rebuild everything that a document builds. Without make's variables for its children, because make
        // prints more with them.
        let told = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_CRATE_",
            "CARGO_BIN_",
            "CARGO_PRIMARY_",
            "NEXTEST",
            "MAKE",
            "MFLAGS",
        ];
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text == "CARGO" || told.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = self.path.iter().cloned().chain(std::env::split_paths(&inherited));
        command.env("PATH", std::env::join_paths(path).expect("no directory of a path has a colon"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Shell::start(command)
    }
}

/// A document that is being run.
#[must_use = "what was not run up to `finish` was not tested"]
pub struct Reading<'a> {
    document: &'a Document,
    fixture: Fixture,
    shell: Shell,
    next: usize,
    printed: String,
}

impl<'a> Reading<'a> {
    /// Starts the shell.
    pub fn of(document: &'a Document, fixture: Fixture) -> Reading<'a> {
        let shell = fixture.shell();
        Reading { document, fixture, shell, next: 0, printed: String::new() }
    }

    /// Runs all remaining blocks before this heading. The heading must be in the part that has not run yet.
    pub fn until(&mut self, heading: &str) -> Result<(), Failure> {
        let document = self.document;
        let done = self.next.checked_sub(1).map_or(0, |last| document.blocks[last].line);
        let mut headings = document.headings.iter().filter(|found| found.line > done);
        let found = headings.find(|found| found.text == heading);
        let found = found.ok_or_else(|| {
            Failure(format!("{}: no heading \"{heading}\" below line {done}", document.name))
        })?;
        self.run_before(found.line)
    }

    /// Returns the output of the last block: standard output, or both streams if the document shows its
    /// output.
    pub fn printed(&self) -> &str {
        &self.printed
    }

    /// Runs the last block again.
    pub fn again(&mut self) -> Result<(), Failure> {
        let last = self.next.checked_sub(1).expect("a block was run");
        self.run(&self.document.blocks[last])
    }

    /// Runs commands that are not in a block, because they differ for each reader of the document. Returns
    /// the output of both streams.
    pub fn type_in(&mut self, commands: &str) -> Result<String, Failure> {
        self.renew_shell();
        let printed = self.shell.run(&format!("{commands}\n"), Printed::Together);
        printed
            .map_err(|failed| Failure(format!("typed in, while {} was read: {failed}", self.document.name)))
    }

    /// Runs the remaining blocks. Returns the number of the document's blocks that were run.
    pub fn finish(mut self) -> Result<usize, Failure> {
        self.run_before(usize::MAX)?;
        for (section, reason) in self.document.not_run() {
            println!("{}: not run, in \"{section}\": {reason}", self.document.name);
        }
        Ok(self.document.blocks.iter().filter(|block| self.runs(block)).count())
    }

    fn run_before(&mut self, line: usize) -> Result<(), Failure> {
        let document = self.document;
        while let Some(block) = document.blocks.get(self.next).filter(|block| block.line < line) {
            if self.runs(block) {
                self.run(block)?;
            }
            self.next += 1;
        }
        Ok(())
    }

    fn runs(&self, block: &Block) -> bool {
        block.not_run.is_none()
            && match block.content {
                Content::Commands(_) | Content::Console(_) => true,
                Content::Sql(_) => self.fixture.sql.is_some(),
                Content::Text => false,
            }
    }

    fn renew_shell(&mut self) {
        if self.fixture.shell_for_each_block {
            self.shell = self.fixture.shell();
        }
    }

    fn run(&mut self, block: &Block) -> Result<(), Failure> {
        self.renew_shell();
        match (&block.content, &self.fixture.sql) {
            (Content::Commands(Commands { text, prints: None }), _) => {
                self.printed = self.say(block.line, text, Printed::Apart)?;
                Ok(())
            }
            (Content::Commands(Commands { text, prints: Some(prints) }), _) => {
                self.printed = self.say(block.line, text, Printed::Together)?;
                self.compare(block.line, text, prints)
            }
            (Content::Sql(statements), Some(database)) => {
                let psql = format!(
                    "psql -X -q -v ON_ERROR_STOP=1 -d \"{database}\" <<'END OF THE BLOCK'\n{statements}\nEND OF THE BLOCK\n"
                );
                self.printed = self.say(block.line, &psql, Printed::Apart)?;
                Ok(())
            }
            (Content::Console(exchanges), _) => exchanges.iter().try_for_each(|exchange| {
                self.printed = self.say(exchange.line, &exchange.command, Printed::Together)?;
                self.compare(exchange.line, &exchange.command, &exchange.prints)
            }),
            (Content::Sql(_), None) | (Content::Text, _) => Ok(()),
        }
    }

    /// Compares the last output with the output that the document shows below these commands.
    fn compare(&self, line: usize, commands: &str, shown: &[String]) -> Result<(), Failure> {
        shape::compare(shown, &self.printed).map_err(|difference| {
            self.failure(line, &format!("prints something else\n{commands}\n{difference}"))
        })
    }

    /// Runs commands that start at a line of the document. Returns their output.
    fn say(&mut self, line: usize, commands: &str, printed: Printed) -> Result<String, Failure> {
        self.shell.run(commands, printed).map_err(|failed| {
            let at = line + failed.line.map_or(0, |line| line.saturating_sub(1));
            self.failure(at, &failed.to_string())
        })
    }

    fn failure(&self, line: usize, what: &str) -> Failure {
        Failure(format!("{}:{line}, in \"{}\": {what}", self.document.name, self.document.section(line)))
    }
}
