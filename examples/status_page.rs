//! `make status-page`: creates the screenshot of the status page for the documentation.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::path::Path;

use harness::browser::{Browser, Look};
use harness::status;
use jiff::Timestamp;
use pg_backup::sidecar::page;

fn main() {
    // A fixed time gives the same screenshot each time.
    let now: Timestamp = "2026-04-26T18:13:40Z".parse().unwrap();
    let file = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    std::fs::write(file.path(), page::render(&status::production(now).read(), None, now)).unwrap();
    let mut browser = Browser::start();
    browser.look_at(&format!("file://{}", file.path().display()), Look { scheme: "light", width: 900 });
    let picture = Path::new("docs/status-page.png");
    browser.picture(picture);
    println!("{}", picture.display());
}
