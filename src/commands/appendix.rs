//! What follows the options in `--help` and makes sections of the manual pages: examples and exit codes, and for the
//! program as a whole its configuration.
//!
//! A line without indentation heads a section. Under `Examples:` lines with two blanks say what for, and lines with
//! four are commands, all of which the tests run through the parser.

pub(crate) const PG_BACKUP: &str = "\
Examples:
  What would make the next round fail:
    pg-backup check
  One round, and what it left in the store:
    pg-backup run
    pg-backup list
  One database into a file:
    pg-backup dump -d postgres://user@host/shop -f shop.sql
  The newest backup of shop into a new database:
    pg-backup restore latest -d shop --to postgres://admin@host/shop_copy -C

Configuration:
  The sidecar and the verbs that read the store take their settings from the
  environment, and from the TOML file of --config, which has the same names; the
  environment wins. Any NAME may be given as NAME_FILE=/path. The least:
    BACKUP_S3_BUCKET, BACKUP_DATABASES, BACKUP_<NAME>_URL for each database
  docs/configuration.md describes all of them; .env.production is a template.

Environment:
  BACKUP_...     the settings; BACKUP_CONFIG is the path of the TOML file
  PG...          libpq's variables: for dump, dumpall and what --to names
  AWS_...        the standard AWS chain, unless BACKUP_AWS_ACCESS_KEY_ID is set
  SSL_CERT_FILE  the certificate authorities to trust instead of the system's
  TZ             the time zone of schedules; UTC without it

Exit status:
  0  all went well; serve: a signal ended it
  1  anything that has no code of its own; every failure of dump and dumpall;
     run: a signal ended it before everything was saved
  2  usage or configuration, or an encrypted backup that nothing given opens;
     check: something would fail
  3  a database cannot be reached or refuses the login
  4  a dump failed
  5  the store failed
  6  something is not as it should be: a backup is overdue, missing or not
     whole, a copy or the bucket's rules differ
  7  run: some of several databases failed, or all for different reasons
";

pub(crate) const SERVE: &str = "\
Examples:
  With the settings of the environment, which is the same without a verb:
    pg-backup serve
  With settings from a file:
    pg-backup serve --config /etc/pg-backup.toml
  Every night at half past three instead of every six hours:
    BACKUP_SCHEDULE='30 3 * * *' TZ=Europe/Berlin pg-backup serve

Exit status:
  0  SIGTERM, SIGINT or SIGHUP ended it
  1  BACKUP_HTTP_LISTEN cannot be listened on
  2  the configuration was refused
  5  the store cannot be set up
";

pub(crate) const RUN: &str = "\
Examples:
  One round:
    pg-backup run
  From cron, with settings from a file:
    pg-backup run --config /etc/pg-backup.toml
  One database of those that are configured:
    BACKUP_DATABASES=metadata pg-backup run

Exit status:
  0        every database was saved
  1        a signal ended it before that, or the webhook before it did not agree
  2        the configuration was refused
  3, 4, 5  databases failed, all of them for this kind of reason: they cannot be
           reached, the dump failed, the store failed
  7        some of several databases failed, or all for different reasons
";

pub(crate) const CHECK: &str = "\
Examples:
  Before the first start, and after each change:
    pg-backup check
  Whether the alerts arrive:
    pg-backup check --send-test
  What is wrong, for a program:
    pg-backup check --json | jq '.findings[] | select(.level == \"error\")'

Exit status:
  0  nothing would fail; there may be warnings
  2  something would fail, or the configuration was refused
  5  the store cannot be set up
";

pub(crate) const DUMP: &str = "\
Examples:
  A database into a file, which appears when it is complete:
    pg-backup dump -d postgres://user@host/shop -f shop.sql
  Into S3, packed, over four connections:
    pg-backup dump -d shop -j 4 -Z gzip -f s3://bucket/shop.sql.gz
  The definitions alone, into another database:
    pg-backup dump -s shop | psql -d shop_copy
  Two tables, and all of a schema but its logs:
    pg-backup dump -t orders -t customers shop
    pg-backup dump -n sales -T 'sales.log_*' shop

Exit status:
  0  the dump is complete
  1  it is not, whatever the reason, as with pg_dump
";

pub(crate) const DUMPALL: &str = "\
Examples:
  A whole server into a file:
    pg-backup dumpall -h host -U postgres -f all.sql
  Roles and tablespaces alone, onto a new server:
    pg-backup dumpall -h old -g | psql -h new -d postgres
  All databases but those of tests, into S3:
    pg-backup dumpall --exclude-database='test_*' -Z zstd -f s3://bucket/all.zst

Exit status:
  0  the dump is complete
  1  it is not, whatever the reason, as with pg_dumpall
";

pub(crate) const LIST: &str = "\
Examples:
  All backups, and those of one database:
    pg-backup list
    pg-backup list metadata
  The address of the newest dump:
    pg-backup list metadata --json | jq -r '.[-1].dump'

Exit status:
  0  it was listed, if only that there is nothing
  2  the configuration was refused
  5  the store cannot be read
";

pub(crate) const STATUS: &str = "\
Examples:
  For a monitoring system that looks into the bucket:
    pg-backup status
  With another limit than one and a half intervals:
    pg-backup status --max-age 26h
  In the sidecar's own container, as its health check:
    pg-backup status --probe

Exit status:
  0  each database has a whole backup that is recent enough
  1  --probe: the sidecar does not answer
  2  the configuration was refused
  5  the store cannot be read
  6  a backup is overdue or missing; --probe: the sidecar is not in order
";

pub(crate) const VERIFY: &str = "\
Examples:
  The latest backup of each database:
    pg-backup verify
  The one that was the newest at a time:
    pg-backup verify -d metadata 2026-04-26T06:00Z
  Encrypted backups, inside too:
    pg-backup verify --identity identity.txt
  And whether it can be restored:
    pg-backup verify -d metadata --deep --to postgres://admin@sandbox/postgres

Exit status:
  0  all that was looked at is whole
  1  --deep: the server for the copies refused something, or a signal ended it
  2  usage or configuration
  3  --deep: the server for the copies cannot be reached
  5  the store cannot be read
  6  a backup is not whole or missing; --deep: a copy differs
";

pub(crate) const LIFECYCLE: &str = "\
Examples:
  What would change, and the change:
    pg-backup lifecycle apply --dry-run
    pg-backup lifecycle apply
  Whether it is still so:
    pg-backup lifecycle check

Exit status:
  0  done, or nothing differs
  2  usage or configuration
  5  the store cannot be asked, or refuses
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
  Only what would change:
    pg-backup lifecycle apply --dry-run
  Backups for 14 days instead of 7:
    BACKUP_RETENTION_DAYS=14 pg-backup lifecycle apply
";

pub(crate) const LIFECYCLE_CHECK: &str = "\
Examples:
  For a monitoring system, by the exit code:
    pg-backup lifecycle check
  The differences, for a program:
    pg-backup lifecycle check --json | jq -r '.differences[]'
";

pub(crate) const RESTORE: &str = "\
Examples:
  The newest backup of shop, into a database that is created for it:
    pg-backup restore latest -d shop --to postgres://admin@host/shop_copy -C
  The newest that began at that time or before, over four connections:
    pg-backup restore 2026-04-26T06:00Z -d shop -j 4 --to postgres://host/copy
  The rows of one table, into the table that is there:
    pg-backup restore latest -d shop --to postgres://host/shop -a -t orders
  What would be restored, without a target:
    pg-backup restore latest -d shop -n sales --dry-run
  Any plain dump:
    gunzip -c old.sql.gz | pg-backup restore - --to postgres://admin@host/copy

Exit status:
  0  everything is restored
  1  the server refused something, or a signal ended it
  2  usage or configuration, or the backup is encrypted and nothing opens it
  3  the target cannot be reached or refuses the login
  5  the store cannot be read
  6  the backup is missing or not whole
";

pub(crate) const DRILL: &str = "\
Examples:
  The latest backup of each database, on the server of BACKUP_DRILL_URL:
    pg-backup drill
  Of one database, whose backups are encrypted:
    pg-backup drill metadata --identity identity.txt
  How long a restore takes, in seconds:
    pg-backup drill metadata --json | jq '.drills[].drill.restore_seconds'

Exit status:
  0  every copy was equal
  1  the sandbox refused something, or a signal ended it
  2  usage or configuration, or a backup is encrypted and nothing opens it
  3  the sandbox cannot be reached or refuses the login
  5  the store cannot be read
  6  a copy differs, or a backup is missing or not whole
";

pub(crate) const VERSION: &str = "\
Examples:
  For people:
    pg-backup version
  The majors of PostgreSQL that can be dumped:
    pg-backup version --json | jq -c .server_majors
";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  For bash, where bash-completion looks:
    pg-backup completions bash > /etc/bash_completion.d/pg-backup
  For zsh, in a directory of $fpath:
    pg-backup completions zsh > /usr/local/share/zsh/site-functions/_pg-backup
  For fish:
    pg-backup completions fish > ~/.config/fish/completions/pg-backup.fish
";

pub(crate) const MAN: &str = "\
Examples:
  To read one:
    pg-backup man restore | man -l -
  To install all:
    pg-backup man --dir /usr/local/share/man/man1

Environment:
  SOURCE_DATE_EPOCH  seconds since 1970: the pages' date, instead of today
";
