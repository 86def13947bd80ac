"""One stub as the only destination of a new organization, in a running service.

with trial(service, "splunk", refused_ids={"e1"}) as one:
    one.record(4)
    one.wait()
    assert one.states()["e1"].last_status_code == 400
"""

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw
import httpx

from support.processes import Client
from support.service import Organization, RunningService, wait_until

from .configured import EVERY
from .frame import Stub, serving

BATCH = {"max_wait_ms": 0}
"""Events recorded together are sent together: no wait for further events."""


@dataclass
class Session(Client):
    """A client that keeps its connection: a trial calls often, and an httpx client is expensive to create."""

    http: httpx.Client

    def send(self, events: Iterable[bytes]) -> httpx.Response:
        """Send a batch once."""
        return self.http.post(self._path("/events"), content=b"[" + b",".join(events) + b"]")

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Make another call of the organization; return the answer."""
        answer = self.http.request(method, self._path(path), **arguments)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def _path(self, path: str) -> str:
        return f"/api/orgs/{self.organization.org_id}{path}"


@contextmanager
def session(service: RunningService) -> Iterator[Session]:
    """Create an organization and a client for it."""
    wanted = f"org_{uuid.uuid4().hex[:12]}"
    with httpx.Client(base_url=service.url, trust_env=False, verify=False, timeout=30) as http:
        operator = {"Authorization": f"Bearer {service.environment['AEGIS_OPERATOR_KEY']}"}
        answer = http.post("/api/orgs", json={"name": "Trial", "id": wanted}, headers=operator)
        assert answer.status_code == 201, answer.text
        organization = Organization(wanted, answer.json()["api_key"])
        http.headers.update(
            {"Authorization": f"Bearer {organization.key}", "Content-Type": "application/json"}
        )
        yield Session(service.url, organization, http)


@dataclass(frozen=True)
class State:
    """The state of an event at the destination, and its last answer."""

    state: str
    attempts: int
    last_status_code: int | None
    last_error: str | None
    next_attempt_at: str | None


@dataclass
class Trial:
    """A destination under test, and the events that were recorded for it."""

    service: RunningService
    client: Session
    stub: Stub
    dst_id: str
    fields: dict[str, Any]
    url: str
    events: dict[str, dict[str, Any]] = field(default_factory=dict)

    def record(self, count: int, *, age_s: float = 0, first: int = 0, **members: Any) -> None:
        """Record events e<first>, e<first + 1>, … in one request, so that they are in the log together."""
        begin = datetime.now(UTC) - timedelta(seconds=age_s)
        made = {}
        for number in range(first, first + count):
            at = begin + timedelta(microseconds=number)
            made[f"e{number}"] = {
                "@timestamp": at.isoformat(),
                "event": {"id": f"e{number}", "dataset": "app.login", "category": ["iam", "web"]},
                "organization": {"id": self.client.organization.org_id},
                "message": f"login {number}",
                **members,
            }
        self.events |= made
        self.client.record([json.dumps(one).encode() for one in made.values()])

    def shown(self) -> dict[str, Any]:
        """Return the destination from the API."""
        found: dict[str, Any] = self.client.request("GET", f"/forwarding-destinations/{self.dst_id}")
        return found

    def wait(self) -> dict[str, int]:
        """Wait until no event is pending; return the numbers of delivered events and dead letters."""

        def look() -> dict[str, Any] | None:
            stats = self.shown()["stats"]
            open_ = stats["backlog"] or stats["retrying"]
            return None if open_ or stats["delivered"] + stats["dead_letters"] < len(self.events) else stats

        stats = wait_until(look)
        return {"delivered": stats["delivered"], "dead": stats["dead_letters"]}

    def states(self) -> dict[str, State]:
        """Return the state of each event."""
        return {event_id: self._state_of(event_id) for event_id in self.events}

    def _state_of(self, event_id: str) -> State:
        (delivery,) = self.client.request("GET", f"/events/{event_id}")["deliveries"]
        return State(**{name: delivery[name] for name in State.__dataclass_fields__})

    def last_error(self) -> str:
        """Return the destination's last error."""
        return str(self.shown()["last_error"]["message"])

    def change(self, **fields: Any) -> None:
        """Change the destination."""
        self.client.request("PATCH", f"/forwarding-destinations/{self.dst_id}", json=fields)

    def test(self) -> dict[str, Any]:
        """Send a test event and return the result."""
        found: dict[str, Any] = self.client.request("POST", f"/forwarding-destinations/{self.dst_id}/test")
        return found

    def warnings(self) -> list[str]:
        """Return the warnings about this destination in the service's log."""
        return [one["reason"] for one in self.records("destination.warning")]

    def records(self, event: str) -> list[dict[str, Any]]:
        """Return the log records with one name about this destination."""
        found = []
        for line in self.service.log.read_text(errors="replace").splitlines():
            if self.dst_id in line and line.startswith("{"):
                record = json.loads(line)
                if record["event"] == event:
                    found.append(record)
        return found

    def window_size(self) -> float:
        """Return the window of the destination, as of the last settlement."""
        connection = apsw.Connection(f"{self.service.environment['AEGIS_DATA_DIR']}/aegis.db")
        try:
            connection.set_busy_timeout(10_000)
            query = (
                "SELECT c.window_size FROM cursors c JOIN destinations d USING (dst_no) WHERE d.dst_id = ?"
            )
            return float(connection.execute(query, (self.dst_id,)).fetchall()[0][0])
        finally:
            connection.close()

    def post(self, body: bytes, content_type: str = "application/json", **headers: str) -> int:
        """Send the stub a body that the service does not send, with the right credential; return the status."""
        sent = {
            "Content-Type": content_type,
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        sent |= self.fields.get("headers", {})
        if "auth_header_name" in self.fields:
            sent[self.fields["auth_header_name"]] = self.fields["auth_header_value"]
        return self.client.http.post(self.url, content=body, headers=sent).status_code


@contextmanager
def trial(
    service: RunningService,
    name: str,
    *,
    target: str | None = None,
    fields: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Trial]:
    """Create a stub and a destination for it, configured as in the guide.

    Args:
        target: path and query of the URL, if not the usual ones.
        fields: fields of the destination besides those of the guide.
        options: options of the stub.
    """
    one = EVERY[name]
    stub = one.make(**options)
    with serving(stub), session(service) as client:
        url = stub.origin + target if target is not None else stub.url
        used = one.fields | {"batch": one.fields.get("batch", {}) | BATCH} | (fields or {})
        yield Trial(service, client, stub, client.add_destination(url, **used), used, url)


def as_lines(events: Iterable[dict[str, Any]]) -> bytes:
    """Write events as lines."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)
