#!/usr/bin/env python3
"""A substitute for `docker compose` on machines without a daemon, such as CI.

Docker Compose itself, the real binary, reads the compose file and resolves the environment of the service
`pg-backup`, and reports a mistake in either. This script does the daemon's part, with the
service's program as an ordinary process: it gets only the resolved environment, and its output is the
container's log. The test starts the servers of the compose file's databases: STATE/addresses.json contains the address of
each service, in place of Docker's name server. `up` only records which of them were started; the others are
not running. Any other subcommand, option or service is rejected.

COMPOSE is the real binary, PG_BACKUP the service's program, STATE a directory. The service ends with the process TEST.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

SERVICE = "pg-backup"
# The compose file's stop_grace_period.
GRACE = 15

STATE = Path(os.environ["STATE"])
PROCESS, RUNNING, LOG = STATE / "pid", STATE / "environment.json", STATE / "log"
ADDRESSES, STARTED = STATE / "addresses.json", STATE / "started.json"

# Ends the service when the test has ended, for any reason.
WATCH = 'while kill -0 "$1" && kill -0 "$2"; do sleep 1; done; kill "$2"'


def refuse(what):
    sys.exit(f"the stand-in for docker does not know: {what}")


def services():
    """The services as Docker Compose reads them from the compose file, or its error."""
    config = subprocess.run([os.environ["COMPOSE"], "config", "--format", "json"], stdout=subprocess.PIPE)
    if config.returncode:
        sys.exit(config.returncode)
    return json.loads(config.stdout)["services"]


def resolved():
    """The service's environment as Docker Compose resolves it, which writes `$` as `$$`, with the addresses of the hosts in it."""
    environment = services()[SERVICE].get("environment") or {}
    return {name: found(str(value).replace("$$", "$")) for name, value in environment.items() if value is not None}


def found(value):
    """A URL of a database with its host's address in addition to the name, in place of a name server."""
    url = re.fullmatch(r"postgres://[^@/]+@([^:/?]+)[^?]*", value)
    addresses = json.loads(ADDRESSES.read_text())
    return f"{value}?hostaddr={addresses[url[1]]}" if url and url[1] in addresses else value


def running():
    """The databases that were started."""
    return json.loads(STARTED.read_text()) if STARTED.exists() else []


def start_databases(names):
    known = services()
    addresses = json.loads(ADDRESSES.read_text())
    for name in names:
        if name not in known or name not in addresses:
            refuse(f"the database {name}")
    STARTED.write_text(json.dumps(sorted({*running(), *names})))


def address(name):
    """The output of `hostname -i` in a database's container."""
    if name not in services() or name not in running():
        sys.exit(f'service "{name}" is not running')
    print(json.loads(ADDRESSES.read_text())[name])


def process():
    """The service's process, if it runs."""
    try:
        pid = int(PROCESS.read_text())
        # A zombie process has ended.
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else pid


def stop():
    pid = process()
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while process() is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            sys.exit(f"{SERVICE} did not end within {GRACE} seconds")
        time.sleep(0.05)


def start(environment, mode):
    with LOG.open(mode) as log:
        service = subprocess.Popen(
            [os.environ["PG_BACKUP"]], env=environment, cwd="/", stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )
    PROCESS.write_text(str(service.pid))
    subprocess.Popen(
        ["sh", "-c", WATCH, "watch", os.environ["TEST"], str(service.pid)], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )


def up():
    """Creates a new container, with a new log, unless one with this environment exists."""
    environment = resolved()
    if RUNNING.exists() and json.loads(RUNNING.read_text()) == environment:
        if process() is None:
            start(environment, "ab")
        return
    stop()
    RUNNING.write_text(json.dumps(environment))
    start(environment, "wb")


def logs(lines):
    text = LOG.read_bytes().splitlines(keepends=True)
    sys.stdout.buffer.write(b"".join(text[-lines:] if lines else text))


def run(arguments, environment):
    sys.stdout.flush()
    os.execve(os.environ["PG_BACKUP"], ["/pg-backup", *arguments], environment)


def main(arguments):
    match arguments:
        case ["compose", "up", "-d", "--no-deps", "pg-backup"]:
            up()
        case ["compose", "up", "-d", "--wait", *databases] if databases and SERVICE not in databases:
            start_databases(databases)
        case ["compose", "stop", "pg-backup"]:
            stop()
        case ["compose", "restart", "pg-backup"]:
            stop()
            start(json.loads(RUNNING.read_text()), "ab")
        case ["compose", "config", "--format", "json"]:
            os.execv(os.environ["COMPOSE"], ["docker-compose", *arguments[1:]])
        case ["compose", "logs", "--no-log-prefix", "pg-backup"]:
            logs(None)
        case ["compose", "logs", "--no-log-prefix", "--tail", lines, "pg-backup"]:
            logs(int(lines))
        case ["compose", "exec", "-T", "pg-backup", "/pg-backup", *rest]:
            if process() is None:
                sys.exit(f'service "{SERVICE}" is not running')
            run(rest, json.loads(RUNNING.read_text()))
        case ["compose", "exec", "-T", service, "hostname", "-i"] if service != SERVICE:
            address(service)
        case ["compose", "run", "--rm", "--no-deps", "pg-backup", *rest]:
            run(rest, resolved())
        case _:
            refuse(" ".join(arguments))


main(sys.argv[1:])
