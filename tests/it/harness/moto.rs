//! A private S3 server that enforces IAM policies and returns errors as AWS does: moto, with one user for
//! each policy file.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::bucket::{Bucket, environment};
use super::guard::{Dir, Guard};
use super::port;
use super::program::{installed, run, without_settings};
use super::seaweed::{BUCKET, PREFIX, policy};

/// The number of requests that moto does not authorize: they create an administrator with a policy and keys.
const UNJUDGED: &str = "3";

/// The server. It replaces moto's response to GetBucketVersioning, whose root element differs from S3's and
/// which the SDK rejects. It also ignores or rejects `If-None-Match`, as `CONDITIONS` says.
const SERVER: &str = r#"
import os
from moto.s3.exceptions import S3ClientError
from moto.s3.responses import S3Response
from moto.server import main

def get(self, name, default=None, *args, **kwargs):
    found = super(type(self), self).get(name, default, *args, **kwargs)
    if name != "If-None-Match" or found is None:
        return found
    if CONDITIONS == "Refused":
        raise Unknown()
    return default

class Unknown(S3ClientError):
    code = 501

    def __init__(self):
        super().__init__("NotImplemented", "A header you provided implies functionality that is not implemented")

def setup_class(self, *args, **kwargs):
    set_up(self, *args, **kwargs)
    if CONDITIONS != "Honored":
        kind = type(self.headers)
        self.headers.__class__ = type(kind.__name__, (kind,), {"get": get})

set_up, CONDITIONS = S3Response.setup_class, os.environ["CONDITIONS"]
S3Response.setup_class = setup_class

def get_bucket_versioning(self):
    status = self.backend.get_bucket_versioning(self.bucket_name)
    status = f"<Status>{status}</Status>" if status else ""
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return 200, {}, f'<VersioningConfiguration xmlns="{space}">{status}</VersioningConfiguration>'

S3Response.get_bucket_versioning = get_bucket_versioning
main()
"#;

/// Creates users, each with the policy that follows its name, and prints their keys.
const USERS: &str = r#"
import json, sys
import boto3

endpoint, users = sys.argv[1], json.loads(sys.stdin.read())
keys = {"admin": ("none", "none")}
for name, policy in users:
    id, secret = keys["admin"]
    iam = boto3.client("iam", endpoint_url=endpoint, region_name="us-east-1",
                       aws_access_key_id=id, aws_secret_access_key=secret)
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys[name] = (key["AccessKeyId"], key["SecretAccessKey"])
print(json.dumps(keys))
"#;

const ADMINISTRATOR: &str = r#"{
    "Version": "2012-10-17",
    "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }]
}"#;

/// How the server treats `If-None-Match: *`.
#[derive(Clone, Copy, Debug)]
pub enum Conditions {
    /// It does not overwrite an object.
    Honored,
    /// It overwrites the object.
    Ignored,
    /// It answers 501.
    Refused,
}

/// A running server.
pub struct Moto {
    _guard: Guard,
    port: u16,
    keys: BTreeMap<String, (String, String)>,
}

impl Moto {
    /// Starts a server with [`BUCKET`] and the users `admin`, `backup`, `restore` and `lifecycle`.
    pub fn start() -> Moto {
        Moto::with_conditions(Conditions::Honored)
    }

    /// Starts the same server with this treatment of `If-None-Match`.
    pub fn with_conditions(conditions: Conditions) -> Moto {
        for _ in 0..5 {
            match Moto::try_start(conditions) {
                Ok(moto) => return moto,
                Err(log) => eprintln!("moto did not start, trying another port:\n{log}"),
            }
        }
        panic!("moto did not start");
    }

    fn try_start(conditions: Conditions) -> Result<Moto, String> {
        let port = port::free();
        let mut command = Command::new(python());
        command.args(["-c", SERVER, "-H", "127.0.0.1", "-p", &port.to_string()]);
        let settings = [
            ("INITIAL_NO_AUTH_ACTION_COUNT", UNJUDGED.to_owned()),
            ("CONDITIONS", format!("{conditions:?}")),
        ];
        without_settings(&mut command).envs(settings);
        let guard = Guard::start(Dir::new(None), None, "KILL", &command).expect("sh starts");
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if guard.has_ended() || Instant::now() > deadline {
                return Err(guard.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut moto = Moto { _guard: guard, port, keys: BTreeMap::new() };
        moto.keys = moto.users();
        moto.bucket(BUCKET).create(false);
        Ok(moto)
    }

    fn users(&self) -> BTreeMap<String, (String, String)> {
        let mut users = vec![("admin", ADMINISTRATOR.to_owned())];
        users.extend(["backup", "restore", "lifecycle"].map(|name| (name, policy(name, BUCKET, PREFIX))));
        let input = super::restore::input(serde_json::json!(users).to_string().as_bytes());
        let mut python = Command::new(python());
        without_settings(python.args(["-c", USERS, &self.http()])).stdin(input);
        let printed = run(&mut python).expect_success().stdout;
        serde_json::from_slice(&printed).expect("the script prints the keys")
    }

    /// Returns the endpoint's URL.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns a bucket with the administrator's permissions.
    pub fn bucket(&self, name: &str) -> Bucket {
        let (id, secret) = &self.keys["admin"];
        Bucket::new(&self.http(), id, secret, name)
    }

    /// Returns the variables that point pg-backup at a bucket with a user's keys.
    pub fn environment(&self, user: &str, bucket: &str) -> Vec<(String, String)> {
        let (id, secret) = &self.keys[user];
        environment("BACKUP_", &self.http(), (bucket, PREFIX), (id, secret))
    }

    /// Returns a user's keys.
    pub fn keys(&self, user: &str) -> (&str, &str) {
        let (id, secret) = &self.keys[user];
        (id, secret)
    }
}

/// Returns the path of Python in the environment that `make prepare` creates in the target directory.
fn python() -> PathBuf {
    installed("moto/bin/python")
}
