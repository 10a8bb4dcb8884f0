//! The status page at `/`, as Chromium renders it: in light and dark mode, on a desktop and on a phone. The
//! screenshots are kept in `target/tmp/status-page` for inspection.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use pg_backup::sidecar::state::SidecarState;
use pg_backup::sidecar::{http, page};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::harness::browser::{Browser, Look};
use crate::harness::http::{ask, get};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::kept_dir;
use crate::harness::sidecar::{Sidecar, listening};
use crate::harness::status;

const LOOKS: [Look; 4] = [
    Look { scheme: "light", width: 1280 },
    Look { scheme: "dark", width: 1280 },
    Look { scheme: "light", width: 360 },
    Look { scheme: "dark", width: 360 },
];

/// Returns the path of a screenshot.
fn picture(name: &str, look: Look) -> PathBuf {
    let dir = kept_dir().join("status-page");
    std::fs::create_dir_all(&dir).unwrap();
    dir.join(format!("{name}-{}-{}.png", look.scheme, look.width))
}

/// Returns the properties of a page as Chromium renders it.
#[track_caller]
fn seen(browser: &mut Browser, address: &str, look: Look) -> Value {
    browser.look_at(address, look);
    browser.evaluate(&include_str!("page.js").replace("WIDTH", &look.width.to_string()))
}

/// Checks that apply to every page in every mode.
#[track_caller]
fn assert_readable(seen: &Value, look: Look) {
    let told = format!("{look:?}\n{seen:#}");
    for none in ["broad", "faintTexts", "faintShapes", "mutePictures", "skippedLevels", "foreign"] {
        assert_eq!(seen[none].as_array().map(Vec::len), Some(0), "{none}: {told}");
    }
    assert!(seen["scrollWidth"].as_u64().unwrap() <= u64::from(look.width), "{told}");
    assert!(seen["texts"].as_u64() > Some(20) && seen["shapes"].as_u64() > Some(2), "{told}");
    assert_eq!(seen["scripts"], 0, "{told}");
    let levels = seen["levels"].as_array().unwrap();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{told}");
    assert_eq!(seen["openTables"], 0, "{told}");
    // Dark text on a light background, or the reverse.
    let brightness = |name: &str| {
        let colour = seen[name].as_str().unwrap();
        colour.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok()).sum::<u32>()
    };
    assert_eq!(brightness("ground") > brightness("ink"), look.scheme == "light", "{told}");
}

#[track_caller]
fn assert_shows(seen: &Value, texts: &[&str]) {
    let shown = seen["text"].as_str().unwrap();
    for text in texts {
        assert!(shown.contains(text), "no {text:?} in\n{shown}");
    }
}

fn with_rows(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1234)");
    database
}

#[test]
fn the_page_shows_what_succeeded_and_what_failed() {
    let server = Server::start();
    let (database, store) = (with_rows(&server), tempfile::tempdir().unwrap());
    let sidecar =
        Sidecar::with_directory(store.path()).set("BACKUP_GLOBALS", "on").database("metadata", &database);
    let wrong = "not-the-password";
    let (sidecar, port) = listening(sidecar.database_at("website", &database.url_without_password(), wrong));
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the round's end", |log| log.contains("[entrypoint] backup failed for website"));

    let page = ask(port, "GET /");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("script"),
        "{policy}"
    );
    assert!(!page.body.contains(wrong), "{}", page.body);
    assert_eq!(get(port, "/favicon.ico").0, 404);
    let (_, reason) = get(port, "/readyz");

    let mut browser = Browser::start();
    for look in LOOKS {
        let seen = seen(&mut browser, &format!("http://127.0.0.1:{port}/"), look);
        browser.picture(&picture("sidecar", look));
        assert_readable(&seen, look);
        assert_eq!(seen["title"], "Backups have failed or are overdue · pg-backup");
        let version = concat!("pg-backup ", env!("CARGO_PKG_VERSION"));
        assert_shows(
            &seen,
            &[
                "Backups have failed or are overdue",
                reason.trim_end(),
                version,
                "in 5h 5",
                "Last backup",
                "1,234",
            ],
        );
        assert_shows(&seen, &["metadata", "saved", "website", "failed", "no dump", "none scheduled"]);
        assert_shows(&seen, &["globals", "roles and tablespaces"]);
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
}

/// Serves a state as a sidecar does. Returns the runtime, which keeps the server running, and the port.
fn served(state: SidecarState) -> (Runtime, u16) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(http::listen(([127, 0, 0, 1], 0).into())).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(http::serve(listener, state));
    (runtime, port)
}

#[test]
fn every_state_is_readable_in_every_look() {
    let mut browser = Browser::start();
    let (_runtime, port) = served(status::everything(Timestamp::now()));
    for look in LOOKS {
        let seen = seen(&mut browser, &format!("http://127.0.0.1:{port}/"), look);
        browser.picture(&picture("everything", look));
        assert_readable(&seen, look);
        // All external input is shown as text.
        assert_eq!(seen["title"], "Backups have failed or are overdue · pg-backup");
        assert_shows(&seen, &["<script>alert('x')</script>", "</p><img src=x onerror=", status::LONG]);
        assert_shows(
            &seen,
            &["no backup yet", "backup running for ", "The first backup is in progress.", "overdue"],
        );
        assert_shows(
            &seen,
            &["No backup has run yet.", "roles and tablespaces", "1 thing missing, 3 differences"],
        );
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_table_of_attempts_opens_without_a_script() {
    let mut browser = Browser::start();
    let (_runtime, port) = served(status::production(Timestamp::now()));
    for look in LOOKS {
        browser.look_at(&format!("http://127.0.0.1:{port}/"), look);
        browser.picture(&picture("production", look));
        browser.evaluate("document.querySelector('.more a').click()");
        browser.wait_for("Page.loadEventFired");
        let script = include_str!("page.js").replace("WIDTH", &look.width.to_string());
        let open = browser.evaluate(&script);
        browser.picture(&picture("attempts", look));
        assert_eq!((&open["openTables"], &open["broad"]), (&1.into(), &Value::Array(Vec::new())), "{open:#}");
        assert_shows(&open, &["All backups are up to date", "Started (UTC)", "56 attempts, newest first"]);
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Serves a text as a page until the test ends.
fn served_text(text: String) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A browser may open a connection without a request.
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close";
                let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            }
        }
    });
    port
}

#[test]
fn the_table_stays_open_when_the_page_reloads() {
    let now = Timestamp::now();
    let text = page::render(&status::production(now).read(), Some("attempts=0"), now);
    let sooner = text.replace(r#"http-equiv="refresh" content="30""#, r#"http-equiv="refresh" content="5""#);
    assert_ne!(sooner, text);
    let port = served_text(sooner);
    let mut browser = Browser::start();
    browser.look_at(&format!("http://127.0.0.1:{port}/?attempts=0"), LOOKS[0]);
    let open = "[...document.querySelectorAll('table')].filter((t) => t.getClientRects().length > 0).length";
    browser.wait_for("Page.loadEventFired");
    assert_eq!(browser.evaluate(open), 1);
    assert_eq!(browser.evaluate("performance.getEntriesByType('navigation')[0].type"), "reload");
}
