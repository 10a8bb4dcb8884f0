//! A private headless Chromium with one page, controlled over the DevTools protocol.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_smithy_types::base64;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::guard::{Dir, Guard};
use super::program::without_settings;

const CHROMIUM: &str = "/usr/bin/chromium";

/// The sandbox is off because Chromium has none as root. The browser opens only our own pages and makes no
/// other connection.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "about:blank",
];

/// The timeout for the start and for each response.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running browser.
pub struct Browser {
    socket: WebSocket<TcpStream>,
    /// The page's session, if the page exists.
    session: Option<String>,
    sent: u64,
    events: VecDeque<Value>,
    _guard: Guard,
}

/// The settings for the display of a page.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// `light` or `dark`.
    pub scheme: &'static str,
    /// In CSS pixels.
    pub width: u32,
}

impl Browser {
    /// Starts a browser in a new directory.
    pub fn start() -> Browser {
        let dir = Dir::new(None);
        let mut command = Command::new(CHROMIUM);
        without_settings(&mut command);
        command.args(ARGUMENTS).arg(format!("--user-data-dir={}", dir.join("profile").display()));
        // Files that the browser writes outside its profile (a cache of fonts, for example) are removed with
        // the directory.
        command.env("HOME", &*dir).env("XDG_CONFIG_HOME", &*dir).env("XDG_CACHE_HOME", &*dir);
        let guard = Guard::start(dir, None, "TERM", &command).expect("sh starts");
        let (port, path) = address(&guard);
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens where it says");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time can be set");
        let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream)
            .unwrap_or_else(|e| panic!("{e}\n{}", guard.log()));
        let mut browser = Browser { socket, session: None, sent: 0, events: VecDeque::new(), _guard: guard };
        browser.open_page();
        browser
    }

    fn open_page(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", attach);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Log", "Runtime"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Calls a method of the protocol and returns its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut request = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(request.to_string())).expect("the browser listens");
        loop {
            let message = self.receive();
            if message["id"] == json!(self.sent) {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    #[track_caller]
    fn receive(&mut self) -> Value {
        loop {
            let message = self.socket.read().expect("the browser answers");
            if let Message::Text(text) = message {
                return serde_json::from_str(text.as_str()).expect("the browser speaks JSON");
            }
        }
    }

    /// Waits for an event of the page.
    #[track_caller]
    pub fn wait_for(&mut self, method: &str) {
        let is_it = |event: &Value| event["method"] == method;
        if let Some(place) = self.events.iter().position(is_it) {
            self.events.remove(place);
            return;
        }
        loop {
            let message = self.receive();
            if is_it(&message) {
                return;
            }
            self.events.push_back(message);
        }
    }

    /// Opens an address and waits until the page is loaded.
    #[track_caller]
    pub fn look_at(&mut self, address: &str, look: Look) {
        let Look { scheme, width } = look;
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        let opened = self.call("Page.navigate", json!({ "url": address }));
        assert!(opened["errorText"].is_null(), "{address}: {opened}");
        self.wait_for("Page.loadEventFired");
    }

    /// Evaluates a JavaScript expression on the page. The page's policies do not apply to it.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{result:#}");
        result["result"]["value"].clone()
    }

    /// Returns the browser's errors: requests blocked by the policy, pages not found, exceptions.
    pub fn complaints(&self) -> Vec<String> {
        let told = ["Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"];
        let events = self.events.iter();
        events
            .filter(|event| told.iter().any(|told| event["method"] == *told))
            .map(Value::to_string)
            .collect()
    }

    /// Takes a screenshot of the whole page.
    #[track_caller]
    pub fn picture(&mut self, file: &Path) {
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let parameters = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.call("Page.captureScreenshot", parameters);
        let bytes = base64::decode(picture["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(file, bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

/// Reads the address that the browser listens on. The browser writes it to its profile when it listens.
fn address(guard: &Guard) -> (u16, String) {
    let file = guard.dir().join("profile/DevToolsActivePort");
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let mut lines = text.lines();
        if let (Some(Ok(port)), Some(path)) = (lines.next().map(str::parse), lines.next()) {
            return (port, path.to_owned());
        }
        assert!(
            Instant::now() < deadline && !guard.has_ended(),
            "Chromium did not start\nHINT: `make prepare` installs it\n{}",
            guard.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
