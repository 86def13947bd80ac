"""Promises of `aegis doctor`: it finds what is wrong, says what to do, changes nothing, and shows no secret."""

import asyncio
import base64
import contextlib
import datetime as dt
import errno
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from aegis_stream.cli import checks, checks_store
from aegis_stream.domain.destination import HALTED, DestinationSpec
from aegis_stream.domain.ids import DestinationId, Micros, OrganizationId
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.receiver.tls import ensure_certificate
from aegis_stream.sender import DnsResolver
from aegis_stream.settings import Settings
from aegis_stream.store import organizations
from aegis_stream.store.sqlite.connect import PAGE_BYTES
from aegis_stream.vault import KeyFile, MasterKey
from aegis_stream.wiring.administration import make_rotation
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.cli import run_aegis
from support.directory import Directory
from support.settings import make_settings

NOW = Micros(1_780_000_000_000_000)
URL = "https://192.0.2.7/c4n4ry/c4n4ry?token=c4n4ry"


def settings_of(folder: Path) -> Settings:
    """Return the settings of the data directory."""
    return make_settings(data_dir=folder, operator_key="aegis_op_" + "t" * 20)


async def fill(folder: Path, *places: str | tuple[str, str], token_url: str | None = None) -> None:
    """Create an organization with a destination for each URL, some with their own authority.

    Args:
        token_url: token endpoint of the last one.
    """
    stores = open_stores(settings_of(folder), FakeLog())
    try:
        no = stores.db.write_now(lambda unit: organizations.add(unit, OrganizationId("org_a"), "A", NOW))
        for number, place in enumerate(places):
            url, authority = (place, None) if isinstance(place, str) else place
            spec = DestinationSpec(url, "Authorization", "Bearer c4n4ry", ca_certificate=authority)
            if token_url is not None and number == len(places) - 1:
                spec = DestinationSpec(url, oauth2=OAuth2(token_url, "client", "c4n4ry-client-secret"))
            await Directory.of(stores).add_destination(no, DestinationId(f"dst_{number}"), spec, NOW, 100)
    finally:
        stores.close()


def execute(folder: Path, statement: str) -> None:
    """Change the database without the program."""
    connection = apsw.Connection(str(folder / "aegis.db"))
    connection.execute(statement)
    connection.close()


@contextlib.contextmanager
def in_background(work: Callable[[], None]) -> Iterator[None]:
    """Run a server beside the test, to its end."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return a data directory that does not exist yet; addresses for documentation are allowed, so that nothing else is wrong."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AEGIS_OPERATOR_KEY", "aegis_op_" + "t" * 20)
    monkeypatch.setenv("AEGIS_ALLOWED_NETWORKS", "192.0.2.0/24,127.0.0.0/8")
    return tmp_path / "data"


@pytest.fixture
def doctor(folder, monkeypatch, capsys) -> Callable[..., SimpleNamespace]:
    """Return a function that runs the command and checks what every run must satisfy: exit status, remedies, no secret."""

    def run(*options: str, **environment: str) -> SimpleNamespace:
        before = _contents(folder)
        done = run_aegis(monkeypatch, capsys, "doctor", "--json", *options, **environment)
        assert done.stderr == ""
        answer = json.loads(done.stdout)
        findings = answer["findings"]
        problems = [one for one in findings if one["state"] == "problem"]
        assert (done.status, answer["ok"]) == ((1, False) if problems else (0, True))
        assert all(one["remedy"] for one in findings if one["state"] != "ok"), "each says what to do"
        assert "c4n4ry" not in done.stdout
        assert _contents(folder) == before, "it looks, and changes nothing"
        return SimpleNamespace(
            problems={(one["check"], one["detail"], one["remedy"]) for one in problems},
            notes={(one["check"], one["detail"]) for one in findings if one["state"] == "note"},
            fine={one["check"] for one in findings if one["state"] == "ok"},
        )

    return run


def _contents(folder: Path) -> dict[str, bytes]:
    """Return the files of the data directory, except those that SQLite creates for a reader."""
    passing = {"aegis.db-shm", "aegis.db-wal"}
    return {
        one.name: one.read_bytes() for one in folder.glob("*") if one.is_file() and one.name not in passing
    }


def only(problems: set[tuple[str, str, str]], check: str) -> tuple[str, str]:
    """Return detail and remedy of the only problem, apart from the missing worker."""
    [found] = {one for one in problems if one[0] != "workers" or check == "workers"}
    assert found[0] == check
    return found[1], found[2]


# ── nothing wrong ──


def test_an_empty_machine_has_no_problem(doctor):
    """Before the first start there is no problem, and nothing is created."""
    found = doctor()

    assert found.problems == set()
    assert {"configuration", "TLS"} <= found.fine
    assert [check for check, _ in found.notes] == ["files"]


def test_a_sound_store_without_destinations_has_no_problem(folder, doctor):
    """A store without destinations has no problem; that no worker runs is only a note."""
    asyncio.run(fill(folder))

    found = doctor()

    assert found.problems == set()
    assert found.fine >= {
        "configuration",
        "TLS",
        "files",
        "disk",
        "database",
        "master key",
        "credentials",
        "egress",
    }
    assert ("workers", "none is running: nothing is delivered") in found.notes


def test_a_person_reads_lines_with_what_to_do(folder, monkeypatch, capsys):
    """Without --json each finding is one line, its remedy the next one, and the last line is the number of problems."""
    asyncio.run(fill(folder, URL))

    done = run_aegis(monkeypatch, capsys, "doctor")

    lines = done.stdout.splitlines()
    assert done.status == 1
    assert [line.split()[0] for line in lines[:2]] == ["ok", "ok"]
    at = next(number for number, line in enumerate(lines) if line.startswith("PROBLEM  workers"))
    assert lines[at + 1].split() == ["→", "start", "`aegis", "serve`", "or", "`aegis", "worker`"]
    assert lines[-1] == "1 problem"


# ── settings and files ──


def test_a_wrong_setting_ends_the_look(doctor):
    """A wrong setting is the only finding, with the message of a start."""
    found = doctor(AEGIS_WINDOW_MAX="9999")

    detail, _ = only(found.problems, "configuration")
    assert "AEGIS_WINDOW_MAX is '9999'" in detail


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.0/7"])
def test_a_network_that_opens_everything_is_a_problem(doctor, network):
    """An allowed network as large as half the internet is a problem."""
    detail, _ = only(doctor(AEGIS_ALLOWED_NETWORKS=network).problems, "configuration")

    assert network in detail


def test_plain_http_is_a_note(doctor):
    """A risky setting that may be intended is a note and not a problem."""
    found = doctor(AEGIS_ALLOW_HTTP="true")

    assert found.problems == set()
    assert any("plain http" in detail for _, detail in found.notes)


def test_a_configuration_file_with_secrets_must_be_private(tmp_path, doctor):
    """A TOML file that holds a key and can be read by others is a problem; without a key it is not."""
    file = tmp_path / "aegis.toml"
    file.write_text("retention_days = 9\n")
    file.chmod(0o644)
    key = base64.b64encode(b"c4n4ry" * 5 + b"xx").decode()

    assert doctor("--config", str(file)).fine >= {"configuration"}
    file.write_text(f'master_key = "{key}"\n')
    detail, remedy = only(doctor("--config", str(file)).problems, "configuration")

    assert (str(file) in detail, remedy) == (True, f"chmod 600 {file}")


@pytest.mark.parametrize("name", [".", "aegis.db", "operator.sha256", "aegis.db.lock"])
def test_files_that_others_can_read_are_named(folder, doctor, monkeypatch, name):
    """A file or directory that other users can read is a problem, with the command that fixes it."""
    asyncio.run(fill(folder))
    (folder / "operator.sha256").touch(mode=0o600)
    (folder / name).chmod(0o755)

    _, remedy = only(doctor().problems, "files")

    assert remedy == f"chmod {700 if name == '.' else 600} {folder if name == '.' else folder / name}"


def test_a_key_file_that_others_can_read_is_named(folder, doctor):
    """A key file that others can read is a problem of the files and of the key, which no start accepts."""
    asyncio.run(fill(folder))
    (folder / "master.key").chmod(0o644)

    found = doctor()

    assert {(check, "chmod 600" in detail + remedy) for check, detail, remedy in found.problems} == {
        ("files", True),
        ("master key", True),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_named(folder, doctor):
    """A file of another user, which the service cannot write, is a problem."""
    asyncio.run(fill(folder))
    os.chown(folder / "aegis.db.lock", 12_345, 12_345)

    detail, remedy = only(doctor().problems, "files")

    assert "another user" in detail
    assert remedy.startswith("chown 0:0 ")


# ── disk and clock ──


@pytest.mark.parametrize(
    ("free", "files", "is_bad"),
    [
        (1 << 29, 10**6, True),
        (1 << 33, 10**6, True),
        (1 << 36, 10**6, False),
        (1 << 36, 10, True),
        (1 << 36, 0, False),
    ],
)
def test_room_that_runs_out_is_a_problem(folder, doctor, monkeypatch, free, files, is_bad):
    """Little free space, or few free inodes, is a problem; a file system without inode counts is ok."""
    asyncio.run(fill(folder))
    room = SimpleNamespace(
        f_bavail=free // 4096, f_frsize=4096, f_blocks=(1 << 40) // 4096, f_favail=files, f_files=files
    )
    monkeypatch.setattr(os, "statvfs", lambda path: room)

    problems = doctor().problems

    assert {check for check, _, _ in problems} == ({"disk"} if is_bad else set())


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_a_disk_that_takes_no_writes_is_a_problem(folder, doctor, monkeypatch, call, error):
    """Whichever step fails, the error of the disk is named, although there is free space."""
    open_stores(settings_of(folder), FakeLog()).close()
    real = getattr(os, call)

    def failing(first, *values, **named):
        if call == "open" and values[0] & os.O_TMPFILE != os.O_TMPFILE:
            return real(first, *values, **named)
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr(checks.os, call, failing)
        detail, remedy = only(doctor().problems, "disk")

    assert detail == f"nothing can be written in {folder}: {os.strerror(error)}"
    assert "disk" in remedy


def test_a_disk_that_this_user_may_not_write_is_not_called_broken(folder, doctor, monkeypatch):
    """Doctor may run as another user than the service: what that user may not do says nothing about the disk."""
    open_stores(settings_of(folder), FakeLog()).close()

    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        patched.setattr(checks, "FREE_BYTES_MIN", 0)
        patched.setattr(checks, "FREE_SHARE_MIN", 0)
        patched.setattr(checks.os, "open", forbidden)
        found = list(checks.check_disk(folder))

    assert [one.state for one in found] == ["ok"]


def test_a_clock_that_went_back_is_a_problem(folder, doctor):
    """A time in the store that is ahead of the clock is a problem that names both."""
    asyncio.run(fill(folder))
    execute(folder, "UPDATE organizations SET last_received_at = 4000000000000000")

    detail, _ = only(doctor().problems, "clock")

    assert "2096-10-02" in detail


@pytest.mark.parametrize(("state", "expected"), [(0, "ok"), (5, "note"), (-1, "ok")])
def test_says_whether_anything_keeps_the_clock_right(monkeypatch, tmp_path, state, expected):
    """The kernel's NTP state is reported; an unknown state is not a problem."""
    monkeypatch.setattr(checks.ctypes, "CDLL", lambda name: SimpleNamespace(adjtimex=lambda buffer: state))

    [finding] = checks.check_clock(NOW, Micros(0), tmp_path / "none.db")

    assert finding.state == expected


# ── database ──


def test_a_damaged_database_is_found(folder, doctor):
    """A damaged page is found by SQLite's own check, and the remedy is the backup."""
    asyncio.run(fill(folder, *[URL] * 30))
    execute(folder, "PRAGMA wal_checkpoint(TRUNCATE)")
    connection = apsw.Connection(str(folder / "aegis.db"))
    [(page,)] = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'destinations_by_revision'"
    )
    connection.close()
    with (folder / "aegis.db").open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES + 8)
        file.write(b"\xff" * 2000)

    problems = doctor().problems

    assert any(check == "database" and "backup" in remedy for check, _, remedy in problems)


def test_what_is_no_database_is_found(folder, doctor):
    """A file that is not a database is a problem, without a traceback."""
    asyncio.run(fill(folder))
    (folder / "aegis.db").write_bytes(b"c4n4ry is no database" * 1000)

    detail, _ = only(doctor().problems, "database")

    assert "not a database" in detail


def test_a_check_that_takes_too_long_is_a_note(folder, doctor, monkeypatch):
    """The check of a large database ends after its time limit, and says so in a note."""
    asyncio.run(fill(folder))
    monkeypatch.setattr(checks_store, "CHECK_SECONDS_MAX", -1.0)
    monkeypatch.setattr("aegis_stream.store.sqlite.inspect._STEPS_BETWEEN_LOOKS", 1)

    found = doctor()

    assert found.problems == set()
    assert any("was not finished" in detail for _, detail in found.notes)


@pytest.mark.parametrize("version", [1, 99])
def test_a_schema_of_another_version_is_named(folder, doctor, version):
    """An older schema is a note, a newer one a problem, and neither is read further or changed."""
    asyncio.run(fill(folder))
    execute(folder, f"PRAGMA user_version = {version}")

    found = doctor()

    assert {check for check, _, _ in found.problems} == ({"database"} if version == 99 else set())
    assert any(f"schema version {version}" in one[1] for one in found.problems | found.notes)


# ── quotas ──


@pytest.mark.parametrize(
    ("stored", "state", "share"),
    [
        (79, "ok", ""),
        (80, "note", "80 %"),
        (93, "note", "93 %"),
        (95, "problem", "95 %"),
        (100, "problem", "100 %"),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_organizations_near_their_quota_are_named(folder, doctor, stored, state, share, own):
    """From four fifths of its quota of stored bytes an organization is named with its share, and what to do."""
    asyncio.run(fill(folder))
    quota = "100" if own else "NULL"
    execute(folder, f"UPDATE organizations SET stored_bytes = {stored}, stored_bytes_max = {quota}")

    found = doctor(AEGIS_STORED_BYTES_MAX="5" if own else "100")

    text = f"organization org_a stores {share} of its quota of 100 bytes"
    assert ("quotas" in found.fine) == (state == "ok")
    assert any(check == "quotas" and detail == text for check, detail in found.notes) == (state == "note")
    assert [one[1].partition(":")[0] for one in found.problems if one[0] == "quotas"] == (
        [text] if state == "problem" else []
    )


# ── master key and credentials ──


@pytest.mark.parametrize("how", ["missing", "another", "garbage"])
def test_a_wrong_master_key_is_found(folder, doctor, how):
    """A missing, wrong or invalid key is a problem, and the content of the file is not shown."""
    asyncio.run(fill(folder, URL))
    file = folder / "master.key"
    if how == "missing":
        file.unlink()
    elif how == "another":
        KeyFile(file).write((MasterKey(b"c4n4ry" * 5 + b"xx"),))
    else:
        file.write_text("c4n4ry")

    problems = {one for one in doctor().problems if one[0] in ("master key", "credentials")}

    assert "master key" in {check for check, _, _ in problems}
    assert all("backup" in remedy for _, _, remedy in problems)


def test_a_rotation_left_half_way_is_found(folder, doctor):
    """An unfinished rotation is a problem with the command that finishes it; older keys afterwards are a note."""
    asyncio.run(fill(folder, URL))

    async def begin() -> None:
        stores = open_stores(settings_of(folder), FakeLog())
        try:
            rotation = make_rotation(settings_of(folder), stores)
            rotation._add_new(rotation.keys.read())
        finally:
            stores.close()

    asyncio.run(begin())
    _, remedy = only(doctor().problems, "master key")

    async def finish() -> None:
        stores = open_stores(settings_of(folder), FakeLog())
        try:
            await make_rotation(settings_of(folder), stores).rotate(lambda done, total: None)
        finally:
            stores.close()

    asyncio.run(finish())
    found = doctor()

    assert remedy == "run `aegis vault rotate`"
    assert {check for check, _, _ in found.problems} == {"workers"}
    assert any("older keys are still kept" in detail for _, detail in found.notes)


def test_a_credential_that_does_not_open_is_named(folder, doctor):
    """Each destination that cannot be decrypted is named with its organization, and the others are still counted."""
    asyncio.run(fill(folder, URL, URL))
    execute(folder, "UPDATE destinations SET url = auth_value WHERE dst_no = 1")

    detail, _ = only(doctor().problems, "credentials")

    assert detail == "cannot decrypt: dst_0 of org_a (sealed-record-damaged)"


# ── workers ──


def test_a_worker_that_died_or_is_silent_is_found(folder, doctor):
    """A worker without a process and one with an expired lease are different problems."""
    asyncio.run(fill(folder, URL))
    bells = folder / "bell"
    bells.mkdir()
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(str(bells / "wrk_silent.sock"))
    execute(
        folder,
        "INSERT INTO workers (worker_id, started_at, expires_at) VALUES ('wrk_dead', 1, 4000000000000000), ('wrk_silent', 1, 2)",
    )

    found = {detail for check, detail, _ in doctor().problems if check == "workers"}
    ear.close()

    assert found == {
        "their process is gone: wrk_dead",
        "silent for longer than their lease: wrk_silent",
    }


def test_living_workers_are_counted(folder, doctor):
    """A worker with an open socket and a valid lease is running; destinations without a worker are a note."""
    asyncio.run(fill(folder, URL, URL))
    bells = folder / "bell"
    bells.mkdir()
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(str(bells / "wrk_alive.sock"))
    execute(
        folder,
        "INSERT INTO workers (worker_id, started_at, expires_at) VALUES ('wrk_alive', 1, 4000000000000000)",
    )
    execute(folder, "UPDATE cursors SET lease_owner = 'wrk_alive' WHERE dst_no = 1")

    found = doctor()
    ear.close()

    assert found.problems == set()
    assert "workers" in found.fine
    assert ("workers", "1 destinations wait for a worker") in found.notes


# ── beyond this machine ──


@pytest.mark.parametrize("bundle", ["missing", "empty"])
def test_a_bundle_without_authorities_is_a_problem(tmp_path, doctor, bundle):
    """A bundle that cannot be read or has no authority is a problem."""
    file = tmp_path / "bundle.pem"
    if bundle == "empty":
        file.write_text("# nothing\n")

    detail, remedy = only(doctor(AEGIS_CA_BUNDLE=str(file)).problems, "TLS")

    assert "bundle.pem" in detail
    assert "AEGIS_CA_BUNDLE" in remedy


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://10.1.2.3/c4n4ry", "private network"),
        ("https://169.254.169.254/c4n4ry", "metadata"),
        ("https://good.example/c4n4ry", "private network"),
        ("https://mixed.example/c4n4ry", "private network"),
        ("https://gone.example/c4n4ry", "does not resolve"),
        ("http://192.0.2.7/c4n4ry", "https://"),
    ],
)
@pytest.mark.parametrize("where", ["url", "token_url"])
def test_what_the_guard_refuses_is_told(folder, doctor, monkeypatch, url, told, where):
    """The guard checks the current addresses of every destination and its token endpoint, not those at creation."""
    addresses = {"good.example": ["10.9.9.9"], "mixed.example": ["192.0.2.7", "10.9.9.9"], "gone.example": []}

    async def resolve(_: DnsResolver, host: str, port: int) -> list[str]:
        found = addresses[host]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return found

    asyncio.run(fill(folder, URL, url) if where == "url" else fill(folder, URL, URL, token_url=url))
    monkeypatch.setattr(DnsResolver, "resolve", resolve)

    detail, _ = only(doctor().problems, "egress")

    assert detail.startswith("dst_1")
    assert told in detail


def test_nothing_is_connected_to_unless_asked(folder, doctor):
    """Without --egress there is no connection to a destination; with it, there is one, without a byte of a request."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)
    asyncio.run(fill(folder, f"http://127.0.0.1:{listener.getsockname()[1]}/c4n4ry"))

    without = doctor(AEGIS_ALLOW_HTTP="true")
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.settimeout(5)
    asked = doctor("--egress", AEGIS_ALLOW_HTTP="true")
    connection, _ = listener.accept()
    sent = connection.recv(100)
    connection.close()
    listener.close()

    assert ("egress", "connections to destinations were not tested") in without.notes
    assert "egress" in asked.fine
    assert sent == b""


def test_a_connection_that_fails_is_told_apart(folder, doctor):
    """With --egress a closed port and a port without TLS are different problems."""
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    plain = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        one, _ = plain.accept()
        one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        one.close()

    asyncio.run(
        fill(folder, f"https://127.0.0.1:{port}/c4n4ry", f"https://127.0.0.1:{plain.getsockname()[1]}/")
    )
    with in_background(hang_up):
        problems = doctor("--egress").problems
    found = {detail.partition(": ")[::2] for check, detail, _ in problems if check == "egress"}
    plain.close()

    assert ("dst_0 at 127.0.0.1", "no connection: connection refused") in found
    assert ("dst_1 at 127.0.0.1", "no TLS session: the receiver speaks http, not https") in found


def test_a_destinations_own_authority_is_used(folder, doctor, tmp_path):
    """With --egress the destination's ca_certificate decides which certificates are trusted, as for deliveries."""
    certificate = ensure_certificate(tmp_path / "tls", dt.datetime.now(dt.UTC))
    server = certificate.server_context().wrap_socket(
        socket.create_server(("127.0.0.1", 0)), server_side=True
    )
    url = f"https://127.0.0.1:{server.getsockname()[1]}/"

    def greet() -> None:
        for _ in range(2):
            with contextlib.suppress(OSError):  # a client that does not trust the certificate disconnects
                server.accept()[0].close()

    asyncio.run(fill(folder, (url, certificate.ca_certificate.read_text()), url))
    with in_background(greet):
        detail, remedy = only(doctor("--egress").problems, "egress")
    server.close()

    assert detail.startswith("dst_1 at 127.0.0.1: its certificate is not trusted")
    assert "ca_certificate" in remedy


# ── deliveries ──


def test_a_destination_that_a_bug_halts_is_a_problem(folder, doctor):
    """A halted destination is a problem with kind and place of the bug; one that fails for its own reasons is a note."""
    asyncio.run(fill(folder, URL, URL))
    reason = f"{HALTED} (KeyError at follow.py:7): please report it"
    execute(
        folder, f"UPDATE cursors SET failures_in_row = 1, last_error_message = '{reason}' WHERE dst_no = 1"
    )
    execute(
        folder, "UPDATE cursors SET failures_in_row = 2, last_error_message = 'answered 401' WHERE dst_no = 2"
    )

    found = doctor()

    detail, remedy = only(found.problems, "deliveries")
    assert detail == f"halted: dst_0 of org_a ({reason})"
    assert "report the bug" in remedy
    assert ("deliveries", "attempts fail: dst_1 of org_a") in found.notes


def test_an_empty_place_is_named(monkeypatch, capsys, tmp_path):
    """Where there is no data directory, doctor says where it looked and how to name another one, and makes nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEGIS_DATA_DIR", raising=False)

    done = run_aegis(monkeypatch, capsys, "doctor")

    assert f"{tmp_path / 'aegis-data'} does not exist yet" in done.stdout
    assert "set AEGIS_DATA_DIR" in done.stdout
    assert list(tmp_path.iterdir()) == []
