//! Dumps of a standby: the same bytes, and conflicts with its recovery.

use crate::harness::bulk;
use crate::harness::fidelity::{Dumps, compare_bytes};
use crate::harness::fixtures;
use crate::harness::postgres::Server;
use crate::harness::program::{pg_backup, run};
use crate::harness::seaweed::{ADMIN, Seaweed};
use crate::harness::sidecar::{Sidecar, gunzip};

#[test]
fn a_standby_is_dumped_as_pg_dump_dumps_it() {
    let primary = Server::start();
    let tables = primary.database();
    tables.load(&fixtures::directory().join("table.sql")).expect_success();
    // Large enough to be read in parts. A standby has no rows of unlogged tables.
    tables.load_bytes(bulk::events("events", 80_000).as_bytes()).expect_success();
    tables.execute("CREATE UNLOGGED TABLE quick AS SELECT 1 AS a");
    let standby = primary.standby(&[]);
    tables.execute("CREATE TABLE streamed AS SELECT 'after the base backup' AS a");
    primary.wait_for(&standby);
    let copy = standby.existing(tables.name());
    assert_eq!(copy.query("SELECT pg_is_in_recovery()"), "t");
    let theirs = copy.pg_dump(&[]);
    for jobs in ["1", "3"] {
        let dump = run(pg_backup().args(["dump", "-d", &copy.url(), "-j", jobs])).expect_success();
        compare_bytes(
            &Dumps { theirs: theirs.clone(), ours: dump.stdout },
            &format!("a standby, {jobs} jobs"),
        );
    }
}

#[test]
fn a_dump_that_recovery_cancels_is_made_again_and_the_conflict_is_named() {
    let (primary, seaweed) = (Server::start(), Seaweed::start());
    let noise = primary.database();
    noise.load_bytes(bulk::noise(60).as_bytes()).expect_success();
    // Recovery does not wait for queries.
    let standby = primary.standby(&["max_standby_streaming_delay=0"]);
    primary.wait_for(&standby);
    let copy = standby.existing(noise.name());
    let (proxy, environment) = seaweed.behind_proxy(ADMIN);
    // The claim of the key is forwarded, the dump is not.
    proxy.stall_at("?uploads");
    let sidecar = Sidecar::with_store(environment).database("main", &copy).set("BACKUP_RETRY_WAIT", "1s");
    let mut round = sidecar.start(&["run"]);
    round.wait_for("the dump", |log| log.contains("main: dumping "));
    let reading = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'noise'::regclass AND granted";
    copy.wait_for("the dump", reading);
    noise.execute("DELETE FROM noise WHERE id % 2 = 0");
    noise.execute("VACUUM noise");
    // The session that holds the snapshot is idle and is terminated immediately. Sessions that read cannot be
    // notified while they wait to send.
    for _ in 0..1000 {
        if standby.log().contains("due to conflict with recovery") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    proxy.open();
    let (code, log) = round.finish();
    assert_eq!(code, Some(0), "{log}");
    let line = log.lines().find(|line| line.contains("main: attempt 1 of 6 failed after "));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains(": the standby cancelled the dump because of a conflict with its recovery: "),
        "{line}"
    );
    assert!(line.contains("due to conflict with recovery (SQLSTATE 40001)"), "{line}");
    assert!(log.contains("main: HINT: raise max_standby_streaming_delay on the standby, or "), "{log}");
    assert!(log.contains("main: OK in ") && !log.contains("FAILED"), "{log}");
    let objects = seaweed.objects();
    assert_eq!(objects.len(), 3, "{objects:?}");
    let dump = objects.iter().find(|object| object.key.ends_with(".sql.gz")).expect("the dump is there");
    primary.wait_for(&standby);
    let ours = gunzip(&seaweed.get(&dump.key));
    compare_bytes(&Dumps { theirs: copy.pg_dump(&[]), ours }, "after the conflict");
}
