//! `pg-backup lifecycle`: the lifecycle rule by which the bucket removes old backups, because the sidecar
//! deletes nothing. `show` prints it, `apply` adds it to the bucket's rules, `check` compares it with them.
//! Exit code 6 if something differs, 5 if the store refuses.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::table::{print_json, print_lines, print_table, table};
use crate::archive::key::BackupId;
use crate::commands::appendix;
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose, S3Access, StoreLocation};
use crate::error::{Error, Result};
use crate::storage::s3::S3Store;
use crate::storage::s3::lifecycle::{Merged, RetentionRule, differences};

/// Options of `lifecycle`.
#[derive(Args, Clone, Debug)]
// An error is reported as for other commands, without the whole help.
#[command(arg_required_else_help = false)]
pub struct LifecycleArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Print the rule, without contacting the bucket.
    ///
    /// Use it if you manage the rules of the bucket with another tool.
    #[command(after_long_help = appendix::LIFECYCLE_SHOW)]
    Show {
        /// Print the rule for a bucket with versioning, which also expires former versions.
        #[arg(long)]
        versioned: bool,
        /// Print JSON for aws s3api put-bucket-lifecycle-configuration.
        #[arg(long)]
        json: bool,
    },
    /// Add the rule to the rules of the bucket, which are not changed.
    ///
    /// Run it once, and again after each change of BACKUP_RETENTION_DAYS. Repeating it changes nothing.
    #[command(after_long_help = appendix::LIFECYCLE_APPLY)]
    Apply {
        /// Only print what would change.
        #[arg(long)]
        dry_run: bool,
        /// Let the rule expire everything in the bucket if BACKUP_S3_PREFIX is not set.
        #[arg(long)]
        whole_bucket: bool,
        /// Print JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Report how the rules of the bucket differ.
    ///
    /// Reports what is missing or different in the rule of pg-backup, and other rules that would remove
    /// backups earlier.
    #[command(after_long_help = appendix::LIFECYCLE_CHECK)]
    Check {
        /// Print JSON for programs.
        #[arg(long)]
        json: bool,
    },
}

/// Output of `apply --json`.
#[derive(Debug, Serialize)]
struct Applied<'a> {
    bucket: &'a str,
    rule: &'a str,
    applied: bool,
    changes: &'a [String],
}

/// Output of `check --json`.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    ok: bool,
    bucket: &'a str,
    rule: &'a str,
    differences: &'a [String],
}

/// The bucket whose rules are managed.
struct BucketArgs<'a> {
    bucket: &'a str,
    access: &'a S3Access,
    config: &'a Config,
}

/// Runs the subcommand.
pub async fn lifecycle(args: &LifecycleArgs) -> Result<()> {
    let config = Config::load(Purpose::ReadStore, args.config.path.as_deref())?;
    let place = place(&config)?;
    match args.action {
        Action::Show { versioned, json } => show(&place.rule(versioned), json),
        Action::Apply { dry_run, whole_bucket, json } => place.apply(dry_run, whole_bucket, json).await,
        Action::Check { json } => place.check(json).await,
    }
}

fn place(config: &Config) -> Result<BucketArgs<'_>> {
    match &config.store {
        StoreLocation::S3 { bucket, access } => Ok(BucketArgs { bucket, access, config }),
        StoreLocation::Directory(path) => Err(Error::Usage {
            message: format!(
                "file://{} is a directory, and only buckets have lifecycle rules",
                path.display()
            ),
            hint: Some("remove old backups from it yourself; pg-backup never deletes backups".to_owned()),
        }),
    }
}

fn show(rule: &RetentionRule, json: bool) -> Result<()> {
    if json {
        return print_json(&rule.to_json());
    }
    let mut table = table(&["RULE", "PREFIX", "BACKUPS>", "FORMER VERSIONS>", "UNFINISHED UPLOADS>"]);
    let days = |days: u32| format!("{days}d");
    table.add_row([
        rule.id.clone(),
        if rule.prefix.is_empty() { "(whole bucket)".to_owned() } else { rule.prefix.clone() },
        days(rule.days),
        rule.noncurrent_days().map_or_else(|| "-".to_owned(), days),
        days(rule.abort_days()),
    ]);
    print_table(&table)
}

impl BucketArgs<'_> {
    fn rule(&self, versioned: bool) -> RetentionRule {
        let lifecycle = &self.config.lifecycle;
        RetentionRule {
            id: lifecycle.id.clone(),
            prefix: BackupId::prefix(&self.config.prefix),
            days: lifecycle.days,
            versioned,
        }
    }

    /// Opens the bucket with the credentials for its rules, if they are set.
    async fn open(&self) -> Result<S3Store> {
        let own = self.config.lifecycle.credentials.clone();
        let credentials = own.or_else(|| self.access.credentials.clone());
        Ok(S3Access { credentials, ..self.access.clone() }.connect(self.bucket).await?)
    }

    async fn apply(&self, dry_run: bool, whole_bucket: bool, json: bool) -> Result<()> {
        if self.config.prefix.is_empty() && !whole_bucket {
            return Err(Error::Usage {
                message: format!(
                    "BACKUP_S3_PREFIX is not set: the rule would expire everything in the bucket {}",
                    self.bucket
                ),
                hint: Some(
                    "set the prefix, or use --whole-bucket if the bucket contains nothing else".to_owned(),
                ),
            });
        }
        let store = self.open().await?;
        let rule = self.rule(store.is_versioned().await?);
        let mut present = store.lifecycle_rules().await?;
        let Merged { rules, changes } = rule.merged(&present.rules);
        let others = rules.len() - 1;
        let applied = !changes.is_empty() && !dry_run;
        if applied {
            present.rules = rules;
            store.set_lifecycle_rules(present).await?;
        }
        if json {
            return print_json(&Applied { bucket: self.bucket, rule: &rule.id, applied, changes: &changes });
        }
        let mut lines = changes.clone();
        lines.push(match (changes.is_empty(), dry_run) {
            (true, _) => format!("bucket {}: {} already exists; nothing to change", self.bucket, rule.id),
            (false, true) => format!("bucket {}: nothing was changed (--dry-run)", self.bucket),
            (false, false) => {
                format!("bucket {}: {} applied; {} left unchanged", self.bucket, rule.id, other_rules(others))
            }
        });
        print_lines(&lines.join("\n"))
    }

    async fn check(&self, json: bool) -> Result<()> {
        let store = self.open().await?;
        let rule = self.rule(store.is_versioned().await?);
        let present = store.lifecycle_rules().await?;
        let differences = differences(&rule, &self.access.object.tags, &present.rules);
        let ok = differences.is_empty();
        let id = rule.id_in(&present.rules);
        if json {
            print_json(&Checked { ok, bucket: self.bucket, rule: id, differences: &differences })?;
        } else if ok {
            print_lines(&format!("bucket {}: {id} is correct", self.bucket))?;
        } else {
            print_lines(&differences.join("\n"))?;
        }
        if ok {
            return Ok(());
        }
        Err(Error::Difference(format!(
            "the lifecycle rules of bucket {} do not match the configuration",
            self.bucket
        )))
    }
}

fn other_rules(number: usize) -> String {
    match number {
        1 => "1 other rule".to_owned(),
        number => format!("{number} other rules"),
    }
}
