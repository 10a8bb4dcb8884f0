//! A private S3 server: SeaweedFS with one bucket, an administrator, and an identity for each policy file in
//! docker/iam.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aws_sdk_s3::error::DisplayErrorContext;
use tokio::runtime::Runtime;

use super::bucket::{Bucket, client, environment};
use super::guard::{self, Dir, Guard};
use super::port;
use super::program::{installed, without_settings};
use super::proxy::BreakableProxy;
use super::sidecar::CLAIM;
use super::tls::Certificates;

/// The bucket that the server creates at its start.
pub const BUCKET: &str = "backups";
/// The only prefix that [`WRITER`] may write under.
pub const PREFIX: &str = "prod";

/// An access key and its secret.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub id: &'static str,
    pub secret: &'static str,
}

/// Has all permissions.
pub const ADMIN: Keys = Keys { id: "admin", secret: "admin-secret" };
/// Has the policy of docker/iam/backup.json: it may put objects under [`BUCKET`]/[`PREFIX`] and nothing else
/// (no list, get, head or delete).
pub const WRITER: Keys = Keys { id: "writer", secret: "writer-secret" };
/// Has the policy of docker/iam/restore.json: it may read backups and change nothing.
pub const READER: Keys = Keys { id: "reader", secret: "reader-secret" };
/// Has the policy of docker/iam/lifecycle.json.
pub const KEEPER: Keys = Keys { id: "keeper", secret: "keeper-secret" };

/// A bucket for replicas. The test must create it.
pub const FAR_BUCKET: &str = "far-away";
/// The only prefix that [`FAR_WRITER`] may write under.
pub const FAR_PREFIX: &str = "copies";
/// Has the policy of docker/iam/backup.json for [`FAR_BUCKET`]/[`FAR_PREFIX`].
pub const FAR_WRITER: Keys = Keys { id: "far-writer", secret: "far-writer-secret" };

/// Returns a policy of docker/iam with this bucket and prefix filled in.
pub fn policy(name: &str, bucket: &str, prefix: &str) -> String {
    let text = match name {
        "backup" => include_str!("../../../docker/iam/backup.json"),
        "restore" => include_str!("../../../docker/iam/restore.json"),
        "lifecycle" => include_str!("../../../docker/iam/lifecycle.json"),
        other => panic!("there is no policy {other}"),
    };
    text.replace("CHANGE_ME", bucket).replace("hetzner-prod", prefix)
}

/// A running S3 server.
pub struct Seaweed {
    guard: Guard,
    http: u16,
    https: u16,
    certificates: Certificates,
    runtime: Runtime,
    client: aws_sdk_s3::Client,
}

/// An object of the bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    pub key: String,
    pub size: u64,
}

impl Seaweed {
    /// Starts a server in a new directory and creates [`BUCKET`].
    pub fn start() -> Seaweed {
        on_free_ports(Seaweed::try_start)
    }

    fn try_start() -> Result<Seaweed, String> {
        let dir = Dir::new(None);
        let certificates = Certificates::make(&dir);
        std::fs::write(dir.join("s3.json"), identities()).expect("the temporary directory is writable");
        std::fs::create_dir(dir.join("data")).expect("the temporary directory is writable");
        let ports: [u16; 9] = std::array::from_fn(|_| port::free());
        let [http, https, ..] = ports;
        let command = command(&dir, &certificates, &ports);
        let guard = Guard::start(dir, None, "KILL", &command).expect("sh starts");
        let runtime = Runtime::new().expect("a runtime can be built");
        let client = client(&format!("http://127.0.0.1:{http}"), ADMIN.id, ADMIN.secret);
        let seaweed = Seaweed { guard, http, https, certificates, runtime, client };
        seaweed.wait_until_ready()?;
        Ok(seaweed)
    }

    /// Waits until a bucket and an object can be created: the bucket needs all parts of the server, the
    /// object the volumes.
    fn wait_until_ready(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut last = String::new();
        while Instant::now() < deadline && !self.guard.has_ended() {
            match self.runtime.block_on(self.create_bucket()) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("{last}\n{}", self.guard.log()))
    }

    async fn create_bucket(&self) -> Result<(), String> {
        match self.client.create_bucket().bucket(BUCKET).send().await {
            Ok(_) => {}
            Err(e) if e.as_service_error().is_some_and(|e| e.is_bucket_already_owned_by_you()) => {}
            Err(e) => return Err(DisplayErrorContext(e).to_string()),
        }
        let probe = self.client.put_object().bucket(BUCKET).key("probe").body(b"probe".to_vec().into());
        probe.send().await.map_err(|e| DisplayErrorContext(e).to_string())?;
        let delete = self.client.delete_object().bucket(BUCKET).key("probe").send().await;
        delete.map(|_| ()).map_err(|e| DisplayErrorContext(e).to_string())
    }

    /// Returns the endpoint's URL over HTTP.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Returns a proxy to the server over HTTP, and the variables that point pg-backup at the proxy.
    pub fn behind_proxy(&self, keys: Keys) -> (BreakableProxy, Vec<(String, String)>) {
        let proxy = BreakableProxy::to(self.http);
        let mut environment = self.environment(keys);
        for (name, value) in &mut environment {
            if name == "BACKUP_S3_ENDPOINT" {
                *value = format!("http://127.0.0.1:{}", proxy.port());
            }
        }
        (proxy, environment)
    }

    /// Returns the endpoint's URL over HTTPS. [`Seaweed::authority`] signed its certificate.
    pub fn https(&self) -> String {
        format!("https://localhost:{}", self.https)
    }

    /// Returns the certificate authority's file.
    pub fn authority(&self) -> &Path {
        &self.certificates.authority
    }

    /// Returns all objects except the claims of keys, sorted by key.
    pub fn objects(&self) -> Vec<Object> {
        let list = self.client.list_objects_v2().bucket(BUCKET).send();
        let list = self.runtime.block_on(list).expect("the administrator may list");
        assert_ne!(list.is_truncated(), Some(true), "a test's bucket fits in one page");
        let mut objects: Vec<Object> = list
            .contents()
            .iter()
            .filter(|object| !object.key().unwrap_or_default().ends_with(CLAIM))
            .map(|object| Object {
                key: object.key().unwrap_or_default().to_owned(),
                size: u64::try_from(object.size().unwrap_or_default()).unwrap(),
            })
            .collect();
        objects.sort();
        objects
    }

    /// Returns the keys of uploads that were neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        let list = self.client.list_multipart_uploads().bucket(BUCKET).send();
        let list = self.runtime.block_on(list).expect("the administrator may list uploads");
        list.uploads().iter().map(|upload| upload.key().unwrap_or_default().to_owned()).collect()
    }

    /// Returns the number of parts that an object was uploaded in. Its ETag ends with that number.
    pub fn part_count(&self, key: &str) -> u32 {
        let head = self.client.head_object().bucket(BUCKET).key(key).send();
        let head =
            self.runtime.block_on(head).unwrap_or_else(|e| panic!("{key}: {}", DisplayErrorContext(e)));
        let tag = head.e_tag().unwrap_or_default().trim_matches('"');
        tag.rsplit_once('-').map_or(1, |(_, parts)| parts.parse().expect("a number of parts"))
    }

    /// Returns an object's bytes.
    pub fn get(&self, key: &str) -> Vec<u8> {
        self.try_get(ADMIN, key).unwrap_or_else(|e| panic!("{key}: {e}"))
    }

    /// Returns an object's bytes, read with these keys.
    pub fn try_get(&self, keys: Keys, key: &str) -> Result<Vec<u8>, String> {
        self.runtime.block_on(async {
            let object =
                client(&self.http(), keys.id, keys.secret).get_object().bucket(BUCKET).key(key).send().await;
            let object = object.map_err(|e| DisplayErrorContext(e).to_string())?;
            Ok(object.body.collect().await.map_err(|e| e.to_string())?.to_vec())
        })
    }

    /// Puts an object with these keys.
    pub fn try_put(&self, keys: Keys, key: &str, bytes: &[u8]) -> Result<(), String> {
        self.runtime.block_on(async {
            let put = client(&self.http(), keys.id, keys.secret).put_object().bucket(BUCKET).key(key);
            let put = put.body(bytes.to_vec().into()).send().await;
            put.map(|_| ()).map_err(|e| DisplayErrorContext(e).to_string())
        })
    }

    /// Returns the variables that point pg-backup at this server with these keys.
    pub fn environment(&self, keys: Keys) -> Vec<(String, String)> {
        environment("BACKUP_", &self.http(), (BUCKET, PREFIX), (keys.id, keys.secret))
    }

    /// Returns a bucket with the administrator's permissions.
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::new(&self.http(), ADMIN.id, ADMIN.secret, name)
    }
}

/// Starts a server. Another program may take one of its many ports, so a failed start is retried with other
/// ports.
pub fn on_free_ports<T>(try_start: impl Fn() -> Result<T, String>) -> T {
    for _ in 0..5 {
        match try_start() {
            Ok(server) => return server,
            Err(log) => eprintln!("SeaweedFS did not start, trying other ports:\n{log}"),
        }
    }
    panic!("SeaweedFS did not start");
}

/// Returns the path of the server, which `make prepare` installs into the target directory.
pub fn binary() -> PathBuf {
    installed("seaweedfs/bin/weed")
}

fn command(dir: &Path, certificates: &Certificates, ports: &[u16; 9]) -> Command {
    let [http, https, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc] = ports;
    let mut command = Command::new(binary());
    command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-s3"]);
    command.args(["-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
    command.args(["-volume.max=50", "-master.volumeSizeLimitMB=256"]);
    command.arg(format!("-dir={}", dir.join("data").display()));
    command.arg(format!("-s3.config={}", dir.join("s3.json").display()));
    command.arg(format!("-s3.cert.file={}", certificates.certificate.display()));
    command.arg(format!("-s3.key.file={}", certificates.key.display()));
    for (name, port) in [
        ("s3.port", http),
        ("s3.port.https", https),
        ("s3.port.grpc", s3_grpc),
        ("master.port", master),
        ("master.port.grpc", master_grpc),
        ("volume.port", volume),
        ("volume.port.grpc", volume_grpc),
        ("filer.port", filer),
        ("filer.port.grpc", filer_grpc),
    ] {
        command.arg(format!("-{name}={port}"));
    }
    // The server encrypts objects with this key when a request asks for encryption.
    without_settings(&mut command).env("WEED_S3_SSE_KEY", "tests");
    // The server leaves sockets outside its directory. Their names end with its ports.
    let sockets = ports.iter().map(|port| format!("/tmp/seaweedfs-*-{port}.sock")).collect::<Vec<_>>();
    command.env(guard::LITTER, sockets.join(" "));
    command
}

fn identities() -> String {
    let identity = |name: &str, keys: Keys, policy: &str| {
        let credentials = serde_json::json!([{ "accessKey": keys.id, "secretKey": keys.secret }]);
        serde_json::json!({ "name": name, "credentials": credentials, "policyNames": [policy] })
    };
    let mut admin = identity("admin", ADMIN, "");
    admin["actions"] = serde_json::json!(["Admin", "Read", "Write", "List", "Tagging"]);
    admin["policyNames"] = serde_json::json!([]);
    let policies = [
        ("backup", policy("backup", BUCKET, PREFIX)),
        ("restore", policy("restore", BUCKET, PREFIX)),
        ("lifecycle", policy("lifecycle", BUCKET, PREFIX)),
        ("far-backup", policy("backup", FAR_BUCKET, FAR_PREFIX)),
    ];
    serde_json::json!({
        "identities": [
            admin,
            identity("writer", WRITER, "backup"),
            identity("reader", READER, "restore"),
            identity("keeper", KEEPER, "lifecycle"),
            identity("far-writer", FAR_WRITER, "far-backup"),
        ],
        "policies": policies.map(|(name, content)| serde_json::json!({ "name": name, "content": content })),
    })
    .to_string()
}
