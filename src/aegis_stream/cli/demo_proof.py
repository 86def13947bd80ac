"""The steps of the demonstration that prove by the receiver's own copy that nothing is missing and nothing was altered."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from aegis_stream.verify.findings import COMPLETE, DAMAGED

from .client import Refused, printable
from .demo_context import DemoContext
from .demo_copy import BYTES_MAX, ReceivedCopy, alter_one
from .demo_service import POLL_S, StartFailed
from .demo_steps import Account, curl, say_answer

PATIENCE_S = 30.0
"""Longest time until events are sealed, and until the receiver has what is recorded, seconds."""
COMMAND_S = 60.0
"""Longest time of a command, seconds."""
KEY, CHECKPOINT, ALTERED = "audit.pub", "checkpoint.txt", "altered.ndjson"
"""Files in the folder of the demonstration."""


class Proving(NamedTuple):
    """What is proven.

    Args:
        copy: what the receiver has.
        destination_id: of the destination that leads to it.
        ids: of the events that were sent, in order; at least one.
    """

    copy: ReceivedCopy
    destination_id: str
    ids: Sequence[str]


def seal_in_stream(context: DemoContext, variables: Mapping[str, str], config: Path | None) -> None:
    """Let the checkpoints of the log travel in the log. Raises: StartFailed.

    Args:
        variables: settings of the service.
    """
    folder = variables["AEGIS_DATA_DIR"]
    command = [
        "proof",
        "mode",
        "--org",
        context.org_id,
        "stream",
        *(["--config", str(config)] if config else []),
    ]
    context.begin(
        "Let signed checkpoints travel with the events, so that a receiver can prove what it has",
        f"   $ AEGIS_DATA_DIR={shlex.quote(folder)} aegis {shlex.join(command)}",
    )
    status, said = _aegis(command, context.folder, os.environ | dict(variables))
    if status:
        raise StartFailed(f"the mode of the log could not be set: {said.strip()}")
    context.screen.say(*_indented(said), "")


def send_what_was_before(
    context: DemoContext, admin: Account, destination_id: str, is_running: Callable[[], bool]
) -> None:
    """Replay the log from its first event, and wait for it: a destination begins after its own creation."""
    path = admin.client.org_path("forwarding-destinations", destination_id, "replay")
    body = {"from_sequence": 1}
    context.begin(
        "Send it what was recorded before it was there", *curl(admin.client.url + path, admin.shown_key, body)
    )
    answer = admin.client.call("POST", path, body=body)
    _wait_for_delivery(admin, destination_id, is_running)
    say_answer(context, answer)


def prove(context: DemoContext, admin: Account, proving: Proving, is_running: Callable[[], bool]) -> bool:
    """Verify the receiver's copy, then the same with one byte changed.

    Args:
        is_running: False when nothing more will come.
    Returns: True if the copy is complete and unaltered, and the changed one is not.
    """
    copy = proving.copy
    _seal(context, admin, is_running)
    _wait_for_delivery(admin, proving.destination_id, is_running)
    context.screen.say("")
    path = admin.client.org_path("proof", "keys")
    first, second = curl(admin.client.url + path, admin.shown_key, None, "GET")
    context.begin(
        "Prove that the receiver has every event, unaltered: verify its copy, without the service",
        first,
        f"{second} > {shlex.quote(str(context.folder / KEY))}",
    )
    (context.folder / KEY).write_bytes(admin.client.fetch(path, {}))
    if not copy.is_whole:
        context.screen.say(
            f"   more than {BYTES_MAX >> 20} MiB arrived: the demonstration keeps no more, so there is nothing to verify",
            "",
        )
        return True
    context.screen.say(f"   $ cd {shlex.quote(str(context.folder))}")
    status, _ = _verify(context, copy.path.name)
    altered = alter_one(copy.path.read_bytes().splitlines(), set(proving.ids))
    if altered is None:
        context.screen.say("   There is no event with a byte to change.", "")
        return status == COMPLETE
    lines = [altered.after if one == altered.before else one for one in copy.path.read_bytes().splitlines()]
    (context.folder / ALTERED).write_bytes(b"".join(line + b"\n" for line in lines))
    before, after = altered.shown()
    context.begin(
        f"Change one byte of the copy, in event {printable(altered.event_id)}, and verify again",
        f"   was  …{printable(before)}…",
        f"   is   …{printable(after)}…",
    )
    found, said = _verify(context, ALTERED)
    return (status, found) == (COMPLETE, DAMAGED) and "ALTERED" in said


def _seal(context: DemoContext, admin: Account, is_running: Callable[[], bool]) -> None:
    """Have everything sealed that is recorded, and keep the checkpoint. Raises: Refused."""
    path = admin.client.org_path("proof", "checkpoint")
    first, second = curl(admin.client.url + path, admin.shown_key, None)
    context.begin(
        "Seal what is recorded up to now, and keep the signed checkpoint outside of the service",
        first,
        f"{second} > {shlex.quote(str(context.folder / CHECKPOINT))}",
    )
    note = _sealed_note(admin, path, is_running)
    (context.folder / CHECKPOINT).write_bytes(note)
    context.screen.say(*_indented(note.decode()))


def _sealed_note(admin: Account, path: str, is_running: Callable[[], bool]) -> bytes:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return admin.client.fetch(path, {}, "POST")
        except Refused as error:
            # A large file of events is sealed in several parts.
            is_late = time.monotonic() > deadline_s or not is_running()
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE or is_late:
                raise


def _wait_for_delivery(admin: Account, destination_id: str, is_running: Callable[[], bool]) -> None:
    """Wait until the receiver has everything that is recorded; at most PATIENCE_S."""
    path = admin.client.org_path("forwarding-destinations", destination_id)

    def is_delivered() -> bool:
        stats = admin.client.call("GET", path)["stats"]
        replays = admin.client.call("GET", f"{path}/replays")["data"]
        is_replaying = any(one["state"] == "running" for one in replays)
        return not (stats["backlog"] or stats["retrying"] or is_replaying)

    deadline_s = time.monotonic() + PATIENCE_S
    while not is_delivered() and is_running() and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def _verify(context: DemoContext, name: str) -> tuple[int, str]:
    """Run `aegis verify` on a file of the folder, and show what it says."""
    command = ["verify", name, "--key", KEY, "--checkpoint", CHECKPOINT]
    context.screen.say(f"   $ aegis {' '.join(command)}")
    status, said = _aegis(command, context.folder, os.environ)
    context.screen.say(*_indented(said), "")
    return status, said


def _aegis(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command of ours in a folder. Returns: its status, and what it prints. Raises: StartFailed."""
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-m", "aegis_stream", *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StartFailed(f"`aegis {command[0]}` did not end within {COMMAND_S:g} s") from error
    return done.returncode, done.stdout.decode(errors="replace")


def _indented(text: str) -> list[str]:
    return [f"   {line}".rstrip() for line in text.splitlines()]
