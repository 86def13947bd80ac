"""Secrets are planted wherever a secret can be; afterwards none of them is in anything that the service wrote or answered."""

import base64
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from aegis_stream.store.proof_keys import place_of
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from aegis_stream.wiring.process import SystemRandom
from support.canaries import Found, canary, command_lines, environments, files_below, leaks
from support.console_canary import look_at_the_console
from support.postgres import ROLE, PostgresServer, running_server
from support.processes import ServiceGroup, children, free_port, kill, make_events, service_group
from support.service import service_environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# ── a receiver that gives everything back ──


@dataclass
class EchoingReceiver:
    """Answers what the path asks for, and echoes the request's head wherever an answer has room for it.

    Args:
        token: the token that the path /grant returns.
    """

    port: int
    token: str = field(default_factory=canary)
    requests: int = 0
    heads: list[bytes] = field(default_factory=list)

    def answer(self, head: bytes, body: bytes) -> bytes:
        """Return the bytes of an answer."""
        target = head.split(b" ", 2)[1]
        if b"grant" in target:
            body = b'{"access_token": "%s", "expires_in": 20}' % self.token.encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        secret = b" ".join(
            line.partition(b": ")[2]
            for line in head.split(b"\r\n")
            if line.lower().startswith((b"auth", b"x-key"))
        )
        told = head + secret + (body if b"client_secret" in body else b"")
        if b"ok" in target:
            return b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told)
        if b"redirect" in target:
            place = b"https://evil.example/?stolen=" + target + secret.replace(b" ", b"+")
            return b"HTTP/1.1 307 Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % place
        if b"garbage" in target:
            return told
        headers = b"Retry-After: %s\r\nWWW-Authenticate: %s\r\nX-Echo: %s\r\n" % (secret, secret, target)
        status = b"413" if b"poison" in target else b"500"
        return b"HTTP/1.1 %s %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
            status,
            secret or target,
            headers,
            len(told),
            told,
        )


@contextmanager
def echoing_receiver() -> Iterator[EchoingReceiver]:
    """Run a receiver that echoes credentials; one request per connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    receiver = EchoingReceiver(listener.getsockname()[1])

    def serve(one: socket.socket) -> None:
        with one, one.makefile("rb") as reader:
            lines = [reader.readline(65_536)]
            if not lines[0].startswith(b"POST "):
                return  # a TLS handshake, or nothing
            while lines[-1] not in (b"\r\n", b""):
                lines.append(reader.readline(65_536))
            length = next(
                (int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0
            )
            body = reader.read(length)
            receiver.requests += 1
            one.sendall(receiver.answer(b"".join(lines[:-1]), body))

    def accept() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            one.settimeout(10)
            threading.Thread(target=_quietly, args=(serve, one), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _quietly(serve: Any, one: socket.socket) -> None:
    """Serve a connection; ignore a peer that has disconnected."""
    try:
        serve(one)
    except OSError:
        one.close()


# ── a caller that remembers every answer ──


@dataclass
class Place:
    """Where the service keeps its data.

    Args:
        variables: that say so.
        planted: secrets that belong to it.
        rows: runs a query beside the service.
        files: what is on the disk there.
        server: the PostgreSQL server, if there is one.
    """

    variables: dict[str, str] = field(default_factory=dict)
    planted: dict[str, str | bytes] = field(default_factory=dict)
    rows: Callable[[str], list[tuple[Any, ...]]] | None = None
    files: Callable[[], Iterable[Found]] = tuple
    server: PostgresServer | None = None


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path: Path) -> Iterator[Place]:
    """Yield a place for the data; PostgreSQL gets its password from a file."""
    if request.param == "sqlite":
        yield Place()
        return
    with running_server() as server, server.database() as url:
        name, password, file = url.rpartition("/")[2], canary(), tmp_path / "database-password"
        server.sql(f"ALTER ROLE {ROLE} PASSWORD '{password}'")
        file.write_text(password)
        yield Place(
            {
                "AEGIS_DATABASE_URL": f"postgresql://{ROLE}@127.0.0.1:{server.port}/{name}",
                "AEGIS_DATABASE_PASSWORD_FILE": str(file),
            },
            {"database password": password},
            lambda query: server.sql(query, name),
            lambda: files_below(server.folder),
            server,
        )


@dataclass
class Caller:
    """Makes calls and keeps the answers; keys that an answer shows once count as planted from then on."""

    group: ServiceGroup
    planted: dict[str, str | bytes]
    http: httpx.Client
    answers: list[Found] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    key: str = ""
    org_id: str = "org_canary"
    place: Place = field(default_factory=Place)

    def call(
        self, method: str, path: str, *, key: str | None = "", shown_once: str = "", **options: Any
    ) -> httpx.Response:
        """Make a call with our key, another one, or none; `shown_once` names the field of the answer that is a new key."""
        headers = {} if key is None else {"Authorization": f"Bearer {key or self.key}"}
        headers |= options.pop("headers", {})
        with self.http.stream(method, self.group.url + path, headers=headers, **options) as answer:
            content = read(answer)
        if shown_once and answer.is_success:
            text = answer.json()[shown_once].rpartition("#")[2]  # of a URL the token
            self.planted[f"API key {len(self.planted)}"] = text
            content = content.replace(text.encode(), b"")
        self.statuses.add(answer.status_code)
        self.answers.append(
            (
                f"{method} {path.partition('?')[0]} → {answer.status_code}",
                content + repr(answer.headers).encode(),
            )
        )
        return answer

    def organization(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a call below the organization."""
        return self.call(method, f"/api/orgs/{self.org_id}{path}", **options)


def read(answer: httpx.Response) -> bytes:
    """Return the body of an answer; of a stream, which does not end, its first message."""
    if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        message = b""
        for part in answer.iter_bytes():
            message += part
            if b"\n\n" in message:
                break
        assert b"data: " in message
        return message
    return answer.read()


def command(group: ServiceGroup, *arguments: str, **environment: str) -> Found:
    """Run a command beside the service; return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "aegis_stream", *arguments],
        env=service_environment(group.tmp_path, **group.environment, **environment),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return f"aegis {' '.join(arguments)}", done.stdout + done.stderr


# ── what is done with them ──


def make_destinations(caller: Caller, receiver: EchoingReceiver) -> list[str]:
    """Create a destination for each kind of failure and one that works, with a credential in the header or in the URL."""
    base, made = f"http://127.0.0.1:{receiver.port}", []
    retry = {"max_attempts": 2, "base_seconds": 0.05, "multiplier": 1, "max_seconds": 1}

    def add(url: str, what: str, **fields: Any) -> None:
        body = {"url": url, "name": what, "retry": retry} | fields
        tested = caller.organization("POST", "/forwarding-destinations/test", json=body)
        assert tested.status_code == 200, tested.text
        answer = caller.organization("POST", "/forwarding-destinations", json=body)
        if what == "no name" and answer.status_code == 422:
            return  # a name server tells that there is no such name; without one it is found out when something is sent
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])

    for what in ("ok", "failing", "poison", "redirect", "garbage"):
        caller.planted[f"header value, {what}"] = value = canary()
        caller.planted[f"header, {what}"] = header = canary()
        caller.planted[f"second header, {what}"] = second = canary()
        add(
            f"{base}/{what}",
            what,
            auth_header_name="Authorization",
            auth_header_value=f"Bearer {value}",
            headers={"X-Key": header, "Auth-Access": f"with blanks {second}"},
        )
        caller.planted[f"path, {what}"], caller.planted[f"query, {what}"] = path, query = canary(), canary()
        add(f"{base}/{what}/{path}/in?token={query}&x=1", what)
    caller.planted["token"] = receiver.token
    for what in ("ok", "failing", "redirect", "garbage"):
        for where in ("grant", what):
            caller.planted[f"client secret, {what} by {where}"] = secret = canary()
            client = {"token_url": f"{base}/{where}", "client_id": "client", "client_secret": secret}
            add(f"{base}/{what}", f"{what} by {where}", oauth2=client)
    caller.planted["header value, bare"] = value = canary()
    add(f"{base}/failing", "bare", auth_header_name="X-Key", auth_header_value=value)
    for what, place in (
        ("closed port", f"http://127.0.0.1:{free_port()}"),
        ("no TLS", f"https://127.0.0.1:{receiver.port}"),
        ("no name", "https://nowhere.invalid"),
    ):
        caller.planted[f"path, {what}"], caller.planted[f"query, {what}"] = path, query = canary(), canary()
        add(f"{place}/x/{path}/in?token={query}&x=1", what)
    return made


def try_what_is_refused(caller: Caller, dst_id: str) -> None:
    """Write destinations that are rejected, each with a secret, and make calls with invalid keys."""
    good = {"url": "https://siem.example.com/in", "auth_header_name": "Authorization"}
    client = {"token_url": "https://login.example.com/", "client_id": "client", "client_secret": "x"}
    cases: dict[str, Any] = {
        "userinfo, password": lambda c: {"url": f"https://user:{c}@siem.example.com/"},
        "userinfo, name": lambda c: {"url": f"https://{c}@siem.example.com/"},
        "fragment": lambda c: {"url": f"https://siem.example.com/x#{c}"},
        "wrong port": lambda c: {"url": f"https://siem.example.com:22/x/{c}?t={c}"},
        "forbidden address": lambda c: {"url": f"https://169.254.169.254/x/{c}?t={c}"},
        "wrong scheme": lambda c: {"url": f"ftp://siem.example.com/x/{c}"},
        "backslash": lambda c: {"url": f"https://siem.example.com\\{c}"},
        "too long": lambda c: {"url": f"https://siem.example.com/x/{c * 60}"},
        "line break": lambda c: {"auth_header_value": f"Bearer {c}\r\nHost: x"},
        "not ASCII": lambda c: {"auth_header_value": f"Bearer {c} é"},
        "value as name": lambda c: {"auth_header_name": f"Bearer {c}", "auth_header_value": "x"},
        "value without name": lambda c: {"auth_header_name": None, "auth_header_value": c},
        "line break in a header": lambda c: {"headers": {"X-Key": f"{c}\r\nHost: x"}},
        "header not ASCII": lambda c: {"headers": {"X-Key": f"{c} é"}},
        "header value as name": lambda c: {"headers": {f"Bearer {c}": "x"}},
        "header of ours": lambda c: {"headers": {"Host": c}},
        "header as a list": lambda c: {"headers": {"X-Key": [c]}},
        "headers as a list": lambda c: {"headers": [f"X-Key: {c}"]},
        "headers as text": lambda c: {"headers": f"X-Key: {c}"},
        "header twice": lambda c: {"headers": {"X-Key": c, "x-key": c}},
        "too many headers": lambda c: {"headers": {f"X-{number}": c for number in range(11)}},
        "client secret with a line break": lambda c: {"oauth2": client | {"client_secret": f"{c}\n"}},
        "client secret in its URL": lambda c: {"oauth2": client | {"token_url": f"https://x:{c}@a.example/"}},
        "client secret as a list": lambda c: {"oauth2": client | {"client_secret": [c]}},
        "client as text": lambda c: {"oauth2": c},
        "client beside an auth header": lambda c: {"oauth2": client | {"client_secret": c}},
        "a list": lambda c: {"auth_header_value": [c]},
        "an object": lambda c: {"auth_header_value": {c: c}},
        "private key as certificate": lambda c: {
            "ca_certificate": f"-----BEGIN PRIVATE KEY-----\n{c}\n-----END PRIVATE KEY-----"
        },
        "unknown field": lambda c: {"password": c},
    }
    for what, make in cases.items():
        caller.planted[what] = secret = canary()
        body = good | {"auth_header_value": "Bearer x"} | make(secret)
        for method, path in (
            ("POST", "/forwarding-destinations"),
            ("POST", "/forwarding-destinations/test"),
            ("PATCH", f"/forwarding-destinations/{dst_id}"),
        ):
            answer = caller.organization(method, path, json=body)
            # A test of a host without a name server fails at its name, before the certificate is looked at.
            failed = path.endswith("/test") and answer.is_success and not answer.json()["ok"]
            assert failed or answer.status_code in (400, 422), (what, answer.text)
    caller.planted["broken JSON"] = secret = canary()
    for content in (b'{"auth_header_value": "%s"', b'{"auth_header_value": %s}', b"\xff%s", b'["%s"]'):
        for path in ("/forwarding-destinations", "/events", "/api-keys"):
            json_type = {"Content-Type": "application/json"}
            answer = caller.organization("POST", path, content=content % secret.encode(), headers=json_type)
            assert answer.status_code in (400, 422), answer.text
    caller.planted["wrong key"] = wrong = canary()
    for headers in (
        {"Authorization": f"Bearer aegis_sk_{wrong}"},
        {"Authorization": f"Basic {base64.b64encode(wrong.encode()).decode()}"},
        {"Authorization": wrong},
        {"X-Api-Key": wrong},
    ):
        for path in ("", "/events", "/forwarding-destinations"):
            assert caller.organization("GET", path, key=None, headers=headers).status_code == 401
        assert (
            caller.call("POST", "/api/orgs", key=None, headers=headers, json={"name": "x"}).status_code == 401
        )
    caller.organization("GET", f"/events?api_key={wrong}&limit={wrong}&cursor={wrong}")


def make_every_call(caller: Caller, ids: dict[str, str]) -> int:
    """Make every call of the OpenAPI document with a valid key, an invalid one and none; return how many there are."""
    paths = caller.call("GET", "/openapi.json", key=None).json()["paths"]
    calls = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    order = {"GET": 0, "POST": 1, "PATCH": 2, "PUT": 2, "DELETE": 3}
    for method, path in sorted(calls, key=lambda one: order[one[0]]):
        filled = path
        for name, value in ids.items():
            filled = filled.replace(f"{{{name}}}", value)
        filled = filled.replace("{", "").replace("}", "")
        for key in (None, f"aegis_sk_{canary()}", ""):
            body = {"json": {}} if method in ("POST", "PATCH", "PUT") else {}
            shown = "api_key" if "api-keys" in path else "url" if "console-links" in path else ""
            once = shown if method == "POST" else ""
            answer = caller.call(method, filled, key=key, shown_once=once, **body)
            if once == "url" and answer.is_success:
                follow_link(caller, answer.json()["url"].rpartition("#")[2])
    return len(calls)


def follow_link(caller: Caller, token: str) -> None:
    """Open a console link, twice; the answers of the console are kept like the others."""
    for status in (303, 401):
        answer = caller.call("POST", "/console/link", key=None, data={"token": token})
        assert answer.status_code == status, answer.text


def deliver(caller: Caller, receiver: EchoingReceiver, first: int) -> None:
    """Record events and wait until every destination has delivered them or made them dead letters."""
    answer = caller.organization(
        "POST", "/events", content=b"[" + b",".join(make_events(caller.org_id, first, 3).values()) + b"]",
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    behind = "SELECT count(*) FROM cursors c JOIN organizations o ON o.org_no = c.org_no WHERE c.failures_in_row = 0 AND c.cursor < o.head"
    rows = caller.place.rows or caller.group.rows
    wait_until(lambda: int(rows(behind)[0][0]) == 0, seconds=60)


def look_at_everything(caller: Caller, made: list[str]) -> None:
    """Make every call that reads, and every call that acts."""
    for dst_id in made:
        path = f"/forwarding-destinations/{dst_id}"
        for one in ("", "/deliveries", "/dead-letters", "/replays"):
            assert caller.organization("GET", path + one).status_code == 200
        assert caller.organization("POST", path + "/test").status_code == 200
        caller.organization("POST", path + "/dead-letters/redrive", json={})
        caller.organization("POST", path + "/replay", json={"from_sequence": 1})
        caller.organization("POST", path + "/pause")
        caller.organization("POST", path + "/resume")
    for path in ("/metrics", "/healthz", "/readyz", "/docs", "/openapi.json", "/nothing/here"):
        caller.call("GET", path, key=None)
    caller.organization("GET", "/forwarding-destinations")
    caller.organization("GET", "/events")


def objects_of(caller: Caller, dst_id: str, receiver: EchoingReceiver) -> dict[str, str]:
    """Return an object of every kind, by the names that paths of the console have for them, and a URL that works."""
    path = f"/forwarding-destinations/{dst_id}"
    keys = caller.organization("GET", "/api-keys").json()["data"]
    link = caller.organization("POST", "/console-links", json={"scope": "read"}, shown_once="url").json()
    return {
        "org_id": caller.org_id,
        "destination_id": dst_id,
        "event_id": "evt_000001",
        "key_id": next(one["id"] for one in keys if one["scope"] == "read"),
        "delivery_id": caller.organization("GET", f"{path}/deliveries").json()["data"][0]["id"],
        "replay_id": caller.organization("GET", f"{path}/replays").json()["data"][0]["id"],
        "job_id": "ddj_none",
        "link_id": link["id"],
        "url": f"http://127.0.0.1:{receiver.port}/ok",
    }


def live_through_an_outage(caller: Caller, server: PostgresServer) -> list[Found]:
    """Make calls and run commands while the database is gone; no answer tells a client where it is."""
    server.kill()
    first = len(caller.answers)
    for path in ("/events", "/forwarding-destinations", "/api-keys"):
        assert caller.organization("GET", path).status_code == 503
    batch = b"[" + make_events(caller.org_id, 900, 1)["evt_000900"] + b"]"
    body = {"content": batch, "headers": {"Content-Type": "application/json"}}
    assert caller.organization("POST", "/events", **body).status_code == 503
    for path in ("/readyz", "/healthz", "/metrics"):
        caller.call("GET", path, key=None)
    told = b"".join(content for _, content in caller.answers[first:])
    assert str(server.port).encode() not in told
    assert b"127.0.0.1" not in told
    wait_until(lambda: caller.group.log_lines("service.store_unavailable"))
    found = [command(caller.group, "doctor"), command(caller.group, "org", "create", "Other")]
    server.start()
    wait_until(caller.group.is_ready)
    return found


def places(group: ServiceGroup, place: Place) -> list[Found]:
    """Return everything that exists at this moment: files, logs, command lines."""
    folder = group.tmp_path / "data"
    return [
        *files_below(folder, but=frozenset({"master.key"})),
        *place.files(),
        ("log", (group.tmp_path / "service.log").read_bytes()),
        *command_lines(),
    ]


def service_pids(group: ServiceGroup) -> list[int]:
    """Return the service and its workers."""
    return [group.pid, *children(group.pid)]


def test_no_secret_is_anywhere(tmp_path: Path, place: Place):
    """After every call, every failure, echoing receivers, a crash, a rotation and debug logs, no planted secret is found in files, logs, answers, metrics, documents, process lists or printed settings."""
    operator = f"aegis_op_{canary()}"
    planted: dict[str, str | bytes] = {"operator key": operator, **place.planted}
    environment = {
        "AEGIS_LOG_LEVEL": "debug",
        "AEGIS_OPERATOR_KEY": operator,
        "AEGIS_REQUEST_TIMEOUT_SECONDS": "2",
        "AEGIS_PROOF": "true",
        "AEGIS_PROOF_SECONDS": "1",
        **place.variables,
    }
    seen: list[Found] = []
    with (
        service_group(tmp_path, **environment) as group,
        echoing_receiver() as receiver,
        httpx.Client(trust_env=False, verify=False, timeout=30) as http,
    ):
        group.start()
        caller = Caller(group, planted, http, place=place)
        plant_master_keys(planted, tmp_path)
        make_organization(caller, operator)
        made = make_destinations(caller, receiver)
        try_what_is_refused(caller, made[0])
        deliver(caller, receiver, 1)
        look_at_everything(caller, made)
        wait_until(lambda: caller.organization("GET", "/proof/events/evt_000001").is_success)
        plant_seeds(caller, planted, tmp_path)
        keys = {"admin": caller.key, "operator": operator}
        seen += look_at_the_console(group.url, keys, objects_of(caller, made[2], receiver), planted)
        if place.server is not None:
            seen += live_through_an_outage(caller, place.server)
        seen += places(group, place)
        # A secret that the operator gave as a variable is in the environment; no other may be.
        seen_in_environments = list(environments(service_pids(group)))

        kill(group.worker_pid())
        group.kill()
        seen += places(group, place)
        seen.append(command(group, "vault", "rotate"))
        plant_master_keys(planted, tmp_path)
        group.environment["AEGIS_LOG_FORMAT"] = "console"
        group.environment["AEGIS_MASTER_KEY"] = ",".join(
            (tmp_path / "data" / "master.key").read_text().split()
        )
        group.start()
        deliver(caller, receiver, 11)
        look_at_everything(caller, made)
        ids = {
            "org_id": caller.org_id,
            "destination_id": made[0],
            "event_id": "evt_000001",
            "key_id": "key_x",
            "replay_id": "rpl_x",
        }
        count = make_every_call(caller, ids)
        by_variable = {"AEGIS_API_KEY": caller.key, "AEGIS_ORG": caller.org_id, "AEGIS_URL": group.url}
        seen += [
            command(group, "serve", "--print-config"),
            command(group, "serve", "--print-config", "--json"),
            command(group, "destination", "list", "--json", **by_variable),
            command(group, "destination", "test", made[1], **by_variable),
            command(group, "key", "list", "--org", caller.org_id),
            command(group, "doctor"),
            command(group, "doctor", "--json", "--egress"),
            command(group, "vault", "rotate", "--drop-old"),
        ]
        seen += places(group, place)
        assert group.terminate() == 0
        seen += places(group, place)

    assert count > 20
    assert {200, 201, 202, 401, 404, 422} <= caller.statuses
    assert receiver.requests > len(made)
    assert len(planted) > 40
    assert sorted({*leaks(planted, seen + caller.answers)}) == []
    assert (
        leaks({name: text for name, text in planted.items() if name != "operator key"}, seen_in_environments)
        == []
    )


def make_organization(caller: Caller, operator: str) -> None:
    """Create the organization and its keys; all of them count as planted."""
    body = {"name": "Canary", "id": caller.org_id}
    answer = caller.call("POST", "/api/orgs", key=operator, shown_once="api_key", json=body)
    caller.key = answer.json()["api_key"]
    for scope in ("ingest", "read"):
        made = caller.organization(
            "POST", "/api-keys", json={"name": scope, "scope": scope}, shown_once="api_key"
        )
        caller.organization("POST", f"/api-keys/{made.json()['id']}/rotate", json={}, shown_once="api_key")


def plant_master_keys(planted: dict[str, str | bytes], tmp_path: Path) -> None:
    """Plant the bytes of the current master keys."""
    for number, text in enumerate((tmp_path / "data" / "master.key").read_text().split()):
        planted[f"master key {len(planted)}.{number}"] = base64.b64decode(text)


def plant_seeds(caller: Caller, planted: dict[str, str | bytes], tmp_path: Path) -> None:
    """Plant the seeds of the keys that sign the organization's checkpoints."""
    texts = (tmp_path / "data" / "master.key").read_text().split()
    vault = Vault(GivenKeys(tuple(MasterKey(base64.b64decode(one)) for one in texts)), SystemRandom())
    as_text = "encode(seed, 'hex')" if caller.place.rows else "hex(seed)"
    rows = (caller.place.rows or caller.group.rows)(f"SELECT {as_text} FROM proof_keys")
    assert rows, "a log is sealed by now"
    for number, (seed,) in enumerate(rows):
        opened = vault.open(bytes.fromhex(seed), place_of(caller.org_id))
        planted[f"seed of the log's key {number}"] = base64.b64decode(opened)


# ── starts that fail ──


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("AEGIS_MASTER_KEY", "{c}"),
        ("AEGIS_MASTER_KEY", "{good},{c}"),
        ("AEGIS_OPERATOR_KEY", "{c}"),
        ("AEGIS_DATABASE_URL", "postgresql://user:{c}@db.example/aegis"),
        ("AEGIS_DATABASE_URL", "postgresql://user:{c}@127.0.0.1:1/aegis"),
        ("AEGIS_DATABASE_URL", "postgresql://user@127.0.0.1:1,[::1]:1/aegis?password={c}"),
        ("AEGIS_DATABASE_URL", "postgresql://user@127.0.0.1:1/aegis?sslpassword={c}&sslmode=require"),
        ("AEGIS_DATABASE_URL", "postgresql://user:{c}@127.0.0.1:{c}/aegis"),
        ("AEGIS_DATABASE_URL", "postgresql://user:x@{c}@127.0.0.1/aegis"),
        ("AEGIS_DATABASE_URL", "postgresql://user:x/{c}@127.0.0.1/aegis"),
        ("AEGIS_DATABASE_URL", "postgresql://user:{c}%@127.0.0.1/aegis"),
        ("AEGIS_DATABASE_URL", "postgresql://user:{c}@127.0.0.1"),
        ("AEGIS_DATABASE_URL", "postgresql://user@127.0.0.1/aegis?{c}"),
        ("AEGIS_DATABASE_URL", "postgres:{c}"),
        ("AEGIS_DATABASE_LISTEN_URL", "postgresql://user:{c}@127.0.0.1/aegis"),
        ("AEGIS_CONFIG", 'database_url = "postgresql://user:{c}@127.0.0.1:1/aegis"'),
        ("AEGIS_CONFIG", 'database_url = ["postgresql://user:{c}@127.0.0.1:1/aegis"]'),
        ("AEGIS_CONFIG", '[store]\ndatabase_url = "postgresql://user:{c}@127.0.0.1:x/aegis"'),
        ("AEGIS_CONFIG", "master_key = {c}"),
        ("AEGIS_CONFIG", 'master_key = "{c}'),
        ("AEGIS_CONFIG", 'master_key = ["{c}"]'),
        ("AEGIS_CONFIG", 'operator_key = {{x = "{c}"}}'),
        ("AEGIS_CONFIG", 'operator_key = "{c}"'),
    ],
)
def test_a_start_that_is_refused_repeats_no_secret(tmp_path, variable, text):
    """A wrong key in a variable or in the file stops the start with a line that names the place and does not repeat the key."""
    secret = canary()
    content = text.format(c=secret, good=base64.b64encode(os.urandom(32)).decode())
    if variable == "AEGIS_CONFIG":
        (tmp_path / "aegis.toml").write_text(content)
        content = str(tmp_path / "aegis.toml")

    variables = service_environment(tmp_path) | {variable: content}
    if "operator_key" in text:
        del variables["AEGIS_OPERATOR_KEY"]  # it would take precedence over the file

    done = subprocess.run(
        [sys.executable, "-m", "aegis_stream", "serve", "--port", "0"],
        env=variables,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert (
        leaks({"secret": secret}, [("standard error", done.stderr), ("standard output", done.stdout)]) == []
    )
