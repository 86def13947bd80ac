"""Clients of several nodes: they record events, fail over to another node when one does not answer, and write down what they saw.

    clients = Clients(urls, organizations, random)
    ... faults ...
    clients.stop()
    clients.calls, clients.sent                         # for the checker

A request that was not acknowledged is sent again with the same ids, to the next node, or given up by chance. Now and then one
that was acknowledged is sent again all the same. Each node also has a client that asks no other one.
"""

import bisect
import hashlib
import http.client
import itertools
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

from faults.checker import Call, Outcome
from support.load import one_line_events
from support.service import Organization

ANSWER_S = 2.0
"""Longest wait for an answer: then another node is asked."""
RESIDENT_S = 1.0
"""The same for a client that asks one node only: it tells how soon that one answers, so it may not wait long for an old request."""
PAUSE_S = 0.02
"""Pause after a request that was not acknowledged."""
GIVE_UP, REPEAT, MOVE = 0.1, 0.05, 0.1
"""Shares: of unacknowledged requests that are not sent again; of acknowledged ones that are; of requests before which a client
changes its node, so that a node that is back gets load."""
SINGLE = 0.4
"""Share of the requests with a single event."""


class Answered(NamedTuple):
    """A request that was acknowledged."""

    node: int
    organization: str
    began_s: float
    ended_s: float


@dataclass
class Clients:
    """Threads that record events until they are stopped.

    Args:
        urls: of the nodes.
        threads: how many for each organization.
        pause_s: between two requests of a thread.
    Attributes:
        sent: digest of each event by organization and id.
        answered: acknowledged requests, in the order of their answers.
        refused: answers other than 202, by status; 0 for none.
        faults: what no client may see.
    """

    urls: Sequence[str]
    organizations: Sequence[Organization]
    random: Random
    threads: int = 2
    pause_s: float = 0.05
    batch_max: int = 10
    calls: list[Call] = field(default_factory=list)
    sent: dict[tuple[str, str], bytes] = field(default_factory=dict)
    answered: list[Answered] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._next = 1
        moving = [(one, None) for one in self.organizations for _ in range(self.threads)]
        resident = [
            (self.organizations[node % len(self.organizations)], node) for node in range(len(self.urls))
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(one, node, Random(self.random.random())), daemon=True)
            for one, node in [*moving, *resident]
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, and wait until no answer is outstanding."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(ANSWER_S + 5)
            if thread.is_alive():
                self.faults.append("a client does not end")

    def first_answer(self, node: int, after_s: float) -> float | None:
        """Return when a node first acknowledged a request that had begun after a time; None if it has not yet."""
        for one in self._answered_from(after_s):
            if one.node == node and one.began_s >= after_s:
                return one.ended_s
        return None

    def longest_pause(self, organization: str, from_s: float, to_s: float) -> float:
        """Return the longest time within a span in which nothing of an organization was acknowledged, seconds."""
        ended = [one.ended_s for one in self._answered_from(from_s) if one.organization == organization]
        marks = [from_s, *(at for at in ended if at < to_s), to_s]
        return max(after - before for before, after in itertools.pairwise(marks))

    def _answered_from(self, at_s: float) -> list[Answered]:
        with self._lock:
            first = bisect.bisect_left(self.answered, at_s, key=lambda one: one.ended_s)
            return self.answered[first:]

    def _run(self, organization: Organization, home: int | None, random: Random) -> None:
        """Record events until all is stopped, at one node if `home` names it."""
        lines = [_Line(url, organization, ANSWER_S if home is None else RESIDENT_S) for url in self.urls]
        nodes = range(len(lines)) if home is None else [home]
        node = random.choice(nodes)
        try:
            while not self._stopped.wait(random.uniform(0, 2 * self.pause_s)):
                if random.random() < MOVE:
                    node = random.choice(nodes)
                events = self._take(organization, random)
                while not self._send(lines, node, organization, events):
                    node = nodes[(nodes.index(node) + 1) % len(nodes)]
                    if random.random() < GIVE_UP or self._stopped.wait(PAUSE_S):
                        break
                else:
                    if random.random() < REPEAT:
                        self._send(lines, random.choice(nodes), organization, events)
        except Exception as error:  # `faults` reports it to the test
            self.faults.append(repr(error))
        finally:
            for line in lines:
                line.close()

    def _take(self, organization: Organization, random: Random) -> dict[str, bytes]:
        count = 1 if random.random() < SINGLE else random.randint(2, self.batch_max)
        with self._lock:
            events = one_line_events(organization.org_id, self._next, count)
            self._next += count
            for event_id, body in events.items():
                self.sent[organization.org_id, event_id] = digest_of(body)
        return events

    def _send(
        self, lines: "list[_Line]", node: int, organization: Organization, events: dict[str, bytes]
    ) -> bool:
        """Send events to a node once and write down what came of it; return whether they were acknowledged."""
        bodies = list(events.values())
        began_s = time.monotonic()
        status = lines[node].post(bodies[0] if len(bodies) == 1 else b"[" + b",".join(bodies) + b"]")
        if status is None or status == 429:
            outcome = Outcome.FAILED
        else:
            outcome = Outcome.OK if status == 202 else Outcome.UNKNOWN
        with self._lock:
            ended_s = time.monotonic()
            self.calls.append(Call(organization.org_id, tuple(events), began_s, ended_s, outcome))
            if outcome is Outcome.OK:
                self.answered.append(Answered(node, organization.org_id, began_s, ended_s))
            else:
                self.refused[status or 0] = self.refused.get(status or 0, 0) + 1
        if status and status not in (202, 429) and status < 500:
            self.faults.append(f"node {node} answered {status}: {lines[node].said[:300]!r}")
        return outcome is Outcome.OK


def digest_of(body: bytes) -> bytes:
    """Return what the checker knows a body by."""
    return hashlib.sha256(body).digest()


class _Line:
    """A connection to a node that is opened again when it breaks."""

    def __init__(self, url: str, organization: Organization, answer_s: float) -> None:
        parts = urlsplit(url)
        self._path = f"/api/orgs/{organization.org_id}/events"
        self._headers = {
            "Authorization": f"Bearer {organization.key}",
            "Content-Type": "application/json",
        }
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=answer_s)
        self.said = b""

    def post(self, body: bytes) -> int | None:
        """Send a body; return the status, 0 if there was no whole answer, or None if nothing was sent."""
        try:
            if self._connection.sock is None:
                self._connection.connect()
        except OSError:
            self.close()
            return None
        try:
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            self.said = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0
        return answer.status

    def close(self) -> None:
        with suppress(OSError):
            self._connection.close()
