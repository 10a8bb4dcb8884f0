//! What the image holds is enough: a round with the static binary in an empty root directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::fidelity::compare_stored;
use crate::harness::guard::is_root;
use crate::harness::postgres::Server;
use crate::harness::program::{run, static_binary};
use crate::harness::samples::sample;
use crate::harness::seaweed::{Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, gunzip};

/// A command that runs in `root` as the image's user. A tester who is not root gets the same view
/// of the file system from a user namespace.
fn in_root(root: &std::path::Path) -> Command {
    if is_root() {
        let mut command = Command::new("chroot");
        command.arg("--userspec=65532:65532").arg(root);
        command
    } else {
        let mut command = Command::new("unshare");
        command.args(["--map-user=65532", "--map-group=65532", "--root"]).arg(root);
        command
    }
}

#[test]
fn a_round_in_an_empty_root() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    database.load(&sample("chinook")).expect_success();

    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(root.path().join("etc/ssl/certs")).unwrap();
    fs::copy(seaweed.authority(), root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    fs::write(root.path().join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::copy(static_binary(), root.path().join("pg-backup")).unwrap();
    for file in ["etc/ssl/certs/ca-certificates.crt", "etc/hosts"] {
        fs::set_permissions(root.path().join(file), fs::Permissions::from_mode(0o644)).unwrap();
    }

    let sidecar = Sidecar::with_store(seaweed.environment(WRITER))
        .database("main", &database)
        // Without the system's time zones, the program knows them all the same.
        .set("BACKUP_SCHEDULE", "@daily")
        .set("TZ", "Europe/Berlin")
        .set("BACKUP_S3_ENDPOINT", &seaweed.https())
        .set("BACKUP_MAIN_URL", &database.url_without_password().replace("127.0.0.1", "localhost"));
    let mut command = in_root(root.path());
    command.args(["/pg-backup", "run"]).env_clear().envs(sidecar.environment());
    // chroot and unshare themselves are found on the path.
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    run(&mut command).expect_success();

    let objects = seaweed.objects();
    assert_eq!(objects.len(), 3, "{objects:?}");
    let dump = objects.iter().find(|object| object.key.ends_with(".sql.gz")).expect("a dump is among them");
    compare_stored(&server, &database, gunzip(&seaweed.get(&dump.key)), "image");
    // A container with a read-only root has no place for files either.
    let find = run(Command::new("find").arg(root.path()).args(["-type", "f"])).expect_success().stdout_text();
    assert_eq!(find.lines().count(), 3, "files were left behind:\n{find}");
}
