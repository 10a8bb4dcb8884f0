#!/usr/bin/env python3
"""A stand-in for `docker compose`, for a machine without a daemon, as CI is one.

Docker Compose itself, the real binary, reads the compose file and resolves the environment of the service
`pg-backup`: a mistake in either is its error. What its daemon would then do is done here, with the
service's program as an ordinary process: it gets the resolved environment and nothing else, and its output is the
container's log. The databases of the compose file are not started; the test has servers of its own. Any
other sub-command, option or service is refused.

COMPOSE is the real binary, PG_BACKUP the service's program, STATE a directory. The service ends with the process TEST.
"""

import json
import os
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

# Ends the service when the test has ended, however it did.
WATCH = 'while kill -0 "$1" && kill -0 "$2"; do sleep 1; done; kill "$2"'


def refuse(what):
    sys.exit(f"the stand-in for docker does not know: {what}")


def resolved():
    """The service's environment as Docker Compose resolves it, which writes `$` as `$$`."""
    config = subprocess.run([os.environ["COMPOSE"], "config", "--format", "json"], stdout=subprocess.PIPE, check=True)
    environment = json.loads(config.stdout)["services"][SERVICE].get("environment") or {}
    return {name: str(value).replace("$$", "$") for name, value in environment.items() if value is not None}


def process():
    """The service's process, if it runs."""
    try:
        pid = int(PROCESS.read_text())
        # One that nobody has waited for has ended.
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
    """Makes a new container, with a new log, unless one of this environment is there."""
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
        case ["compose", "up", "-d", "pg-backup"]:
            up()
        case ["compose", "stop", "pg-backup"]:
            stop()
        case ["compose", "restart", "pg-backup"]:
            stop()
            start(json.loads(RUNNING.read_text()), "ab")
        case ["compose", "logs", "--no-log-prefix", "pg-backup"]:
            logs(None)
        case ["compose", "logs", "--no-log-prefix", "--tail", lines, "pg-backup"]:
            logs(int(lines))
        case ["compose", "exec", "pg-backup", "/pg-backup", *rest]:
            if process() is None:
                sys.exit(f'service "{SERVICE}" is not running')
            run(rest, json.loads(RUNNING.read_text()))
        case ["compose", "run", "--rm", "pg-backup", *rest]:
            run(rest, resolved())
        case _:
            refuse(" ".join(arguments))


main(sys.argv[1:])
