//! The text after the options in `--help`, which becomes sections of the manual pages: examples and exit
//! codes, and for the program itself its configuration.
//!
//! A line without indentation is the heading of a section. Under `Examples:`, lines with two spaces are
//! descriptions, and lines with four spaces are commands. The tests run all commands through the parser.

pub(crate) const PG_BACKUP: &str = "\
Examples:
  Check the setup:
    pg-backup check
  Run one round, and list the backups:
    pg-backup run
    pg-backup list
  Dump one database to a file:
    pg-backup dump -d postgres://user@host/shop -f shop.sql
  Restore the newest backup of shop to a new database:
    pg-backup restore latest -d shop --to postgres://admin@host/shop_copy -C

Configuration:
  The sidecar and the commands that read the store take their settings from the
  environment and from the TOML file of --config, with the same names; the
  environment takes precedence. Any NAME can be set as NAME_FILE=/path. Required:
    BACKUP_S3_BUCKET, BACKUP_DATABASES, BACKUP_<NAME>_URL for each database
  `pg-backup config --list` prints all of them; docs/configuration.md describes
  them, and .env.production is a template.

Environment:
  BACKUP_...     the settings; BACKUP_CONFIG is the path of the TOML file
  PG...          libpq's variables, for dump, dumpall and the target of --to
  AWS_...        the standard AWS chain, unless BACKUP_AWS_ACCESS_KEY_ID is set
  SSL_CERT_FILE  certificate authorities to trust instead of the system's
  TZ             the time zone of schedules; the default is UTC

Exit status:
  0  success; serve: ended by a signal
  1  any other failure; every failure of dump and dumpall; run: ended by a
     signal before every database was backed up
  2  usage or configuration error, or no identity for an encrypted backup;
     check: something would fail
  3  a database cannot be reached or refuses the login
  4  a dump failed
  5  the store failed
  6  verification failed: a backup is overdue, missing or damaged, a copy or
     the bucket's rules differ
  7  run: some of several databases failed, or all for different reasons
";

pub(crate) const SERVE: &str = "\
Examples:
  With settings from the environment; the same as without a command:
    pg-backup serve
  With settings from a file:
    pg-backup serve --config /etc/pg-backup.toml
  Every night at half past three instead of every six hours:
    BACKUP_SCHEDULE='30 3 * * *' TZ=Europe/Berlin pg-backup serve

Exit status:
  0  ended by SIGTERM, SIGINT or SIGHUP
  1  cannot listen on BACKUP_HTTP_LISTEN
  2  configuration error
  5  the store cannot be set up
";

pub(crate) const RUN: &str = "\
Examples:
  One round:
    pg-backup run
  From cron, with settings from a file:
    pg-backup run --config /etc/pg-backup.toml
  One of the configured databases:
    BACKUP_DATABASES=metadata pg-backup run

Exit status:
  0        every database was backed up
  1        ended by a signal, or aborted by the webhook before the round
  2        configuration error
  3, 4, 5  all databases failed for the same kind of reason: they cannot be
           reached, the dump failed, the store failed
  7        some of several databases failed, or all for different reasons
";

pub(crate) const CHECK: &str = "\
Examples:
  Before the first start, and after each change:
    pg-backup check
  Test that alerts arrive:
    pg-backup check --send-test
  The errors, for programs:
    pg-backup check --json | jq '.findings[] | select(.level == \"error\")'

Exit status:
  0  no errors; there may be warnings
  2  something would fail, or configuration error
  5  the store cannot be set up
";

pub(crate) const CONFIG: &str = "\
Examples:
  The value of each variable, and its source:
    pg-backup config
  Only what is set:
    pg-backup config | grep -v -e ' default$' -e ' unset$'
  The source of each secret, for programs:
    pg-backup config --json | jq -c '.settings[] | select(.secret)'
  Every variable:
    pg-backup config --list

Exit status:
  0  the configuration is valid
  2  usage or configuration error
";

pub(crate) const DUMP: &str = "\
Examples:
  A database to a file, which appears when the dump is complete:
    pg-backup dump -d postgres://user@host/shop -f shop.sql
  To S3, compressed, over four connections:
    pg-backup dump -d shop -j 4 -Z gzip -f s3://bucket/shop.sql.gz
  Definitions only, into another database:
    pg-backup dump -s shop | psql -d shop_copy
  Two tables; a schema without its logs:
    pg-backup dump -t orders -t customers shop
    pg-backup dump -n sales -T 'sales.log_*' shop

Exit status:
  0  the dump is complete
  1  the dump failed, for any reason, as with pg_dump
";

pub(crate) const DUMPALL: &str = "\
Examples:
  A whole server to a file:
    pg-backup dumpall -h host -U postgres -f all.sql
  Roles and tablespaces only, to a new server:
    pg-backup dumpall -h old -g | psql -h new -d postgres
  All databases except those of tests, to S3:
    pg-backup dumpall --exclude-database='test_*' -Z zstd -f s3://bucket/all.zst

Exit status:
  0  the dump is complete
  1  the dump failed, for any reason, as with pg_dumpall
";

pub(crate) const LIST: &str = "\
Examples:
  All backups, and those of one database:
    pg-backup list
    pg-backup list metadata
  The URL of the newest dump:
    pg-backup list metadata --json | jq -r '.[-1].dump'

Exit status:
  0  success, also if there are no backups
  2  configuration error
  5  the store cannot be read
";

pub(crate) const STATUS: &str = "\
Examples:
  For a monitoring system that reads the bucket:
    pg-backup status
  With a limit other than one and a half intervals:
    pg-backup status --max-age 26h
  In the sidecar's own container, as its health check:
    pg-backup status --probe

Exit status:
  0  each database has a complete, recent backup
  1  --probe: the sidecar does not answer
  2  configuration error
  5  the store cannot be read
  6  a backup is overdue or missing; --probe: the sidecar is not ready
";

pub(crate) const VERIFY: &str = "\
Examples:
  The latest backup of each database:
    pg-backup verify
  The newest backup at a given time:
    pg-backup verify -d metadata 2026-04-26T06:00Z
  The contents of encrypted backups:
    pg-backup verify --identity identity.txt
  With a restore to a sandbox:
    pg-backup verify -d metadata --deep --to postgres://admin@sandbox/postgres

Exit status:
  0  every backup is complete and undamaged
  1  --deep: the sandbox refused a statement, or ended by a signal
  2  usage or configuration error
  3  --deep: the sandbox cannot be reached
  5  the store cannot be read
  6  a backup is damaged or missing; --deep: a copy differs
";

pub(crate) const LIFECYCLE: &str = "\
Examples:
  Show the change, then apply it:
    pg-backup lifecycle apply --dry-run
    pg-backup lifecycle apply
  Check it later:
    pg-backup lifecycle check

Exit status:
  0  success; check: the rules agree
  2  usage or configuration error
  5  the store cannot be read, or refuses
  6  check: the bucket's rules differ
";

pub(crate) const LIFECYCLE_SHOW: &str = "\
Examples:
  The rule, for people:
    pg-backup lifecycle show
  For the AWS command line, which replaces all rules of the bucket:
    pg-backup lifecycle show --json > rules.json
";

pub(crate) const LIFECYCLE_APPLY: &str = "\
Examples:
  Show the change only:
    pg-backup lifecycle apply --dry-run
  Keep backups for 14 days instead of 7:
    BACKUP_RETENTION_DAYS=14 pg-backup lifecycle apply
";

pub(crate) const LIFECYCLE_CHECK: &str = "\
Examples:
  For a monitoring system, by the exit code:
    pg-backup lifecycle check
  The differences, for programs:
    pg-backup lifecycle check --json | jq -r '.differences[]'
";

pub(crate) const RESTORE: &str = "\
Examples:
  The newest backup of shop, into a new database:
    pg-backup restore latest -d shop --to postgres://admin@host/shop_copy -C
  The newest that started at or before a time, over four connections:
    pg-backup restore 2026-04-26T06:00Z -d shop -j 4 --to postgres://host/copy
  The rows of one table, into the existing table:
    pg-backup restore latest -d shop --to postgres://host/shop -a -t orders
  List what would be restored, without a target:
    pg-backup restore latest -d shop -n sales --dry-run
  Any plain dump:
    gunzip -c old.sql.gz | pg-backup restore - --to postgres://admin@host/copy

Exit status:
  0  the restore is complete
  1  the server refused a statement, or ended by a signal
  2  usage or configuration error, or no identity for an encrypted backup
  3  the target cannot be reached or refuses the login
  5  the store cannot be read
  6  the backup is missing or damaged
";

pub(crate) const DRILL: &str = "\
Examples:
  The latest backup of each database, on the server of BACKUP_DRILL_URL:
    pg-backup drill
  One database, with encrypted backups:
    pg-backup drill metadata --identity identity.txt
  The restore time, in seconds:
    pg-backup drill metadata --json | jq '.drills[].drill.restore_seconds'

Exit status:
  0  every copy is equal to its backup
  1  the sandbox refused a statement, or ended by a signal
  2  usage or configuration error, or no identity for an encrypted backup
  3  the sandbox cannot be reached or refuses the login
  5  the store cannot be read
  6  a copy differs, or a backup is missing or damaged
";

pub(crate) const VERSION: &str = "\
Examples:
  For people:
    pg-backup version
  The PostgreSQL majors that it dumps:
    pg-backup version --json | jq -c .server_majors
";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  For bash, with bash-completion:
    pg-backup completions bash > /etc/bash_completion.d/pg-backup
  For zsh, in a directory of $fpath:
    pg-backup completions zsh > /usr/local/share/zsh/site-functions/_pg-backup
  For fish:
    pg-backup completions fish > ~/.config/fish/completions/pg-backup.fish
";

pub(crate) const MAN: &str = "\
Examples:
  Read one page:
    pg-backup man restore | man -l -
  Install all pages:
    pg-backup man --dir /usr/local/share/man/man1

Environment:
  SOURCE_DATE_EPOCH  the date of the pages, in seconds since 1970; default today
";
