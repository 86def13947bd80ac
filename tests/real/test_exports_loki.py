"""What a real Grafana Loki gives back is verified: every line, byte for byte; what is withheld or forged is named."""

import json
import time
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from real.exported import EXPORT, run_page, sealed_service
from real.loki_server import EVENTS_FROM_NS, EVENTS_TO_NS, Loki, running_loki

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ANY_TIME = {"reject_old_samples": False}
ANY_ORDER = {"max_chunk_age": "87600h"}
"""Lets lines of a stream be years older than the newest one: checkpoint events have today's time, the events that of last spring."""
QUERY = '{service_name="aegis-audit-stream"}'


def export(loki: Loki, tmp_path: Path, query: str = QUERY) -> Path:
    """Export both ranges by the commands of the page: the days of the events, and today."""
    (tmp_path / EXPORT).unlink(missing_ok=True)
    now_ns = time.time_ns()
    for first, last in ((EVENTS_FROM_NS, EVENTS_TO_NS), (now_ns - 3600 * 10**9, now_ns + 3600 * 10**9)):
        run_page(
            "Grafana Loki",
            tmp_path,
            # So few that every range takes several answers.
            LOKI_URL=loki.url,
            QUERY=query,
            LIMIT="500",
            FROM_NS=str(first),
            TO_NS=str(last),
        )
    return tmp_path / EXPORT


def push(loki: Loki, line: str) -> None:
    """Put a line beside those of the service, as whoever may write into Loki can."""
    at = datetime.fromisoformat(json.loads(line)["@timestamp"])
    stream = {
        "stream": {"service_name": "aegis-audit-stream"},
        "values": [[f"{int(at.timestamp())}000000000", line]],
    }
    httpx.post(loki.push_url, json={"streams": [stream]}, trust_env=False, timeout=60).raise_for_status()


def test_every_line_is_proven_exact_and_what_is_done_to_them_is_named(tmp_path):
    """All lines of two ranges are there as recorded. Then a query withholds one, and puts a forged one in another's place."""
    with running_loki(tmp_path, limits=ANY_TIME, ingester=ANY_ORDER) as loki, sealed_service(tmp_path) as log:
        log.forward(loki.push_url)
        log.finish()
        altered, deleted = sorted(log.bodies)[10], sorted(log.bodies)[200]
        sequences = [log.sequence_of(one) for one in (altered, deleted)]

        whole = log.verify(export(loki, tmp_path), "--accept", "exact")
        push(loki, json.dumps(json.loads(log.bodies[altered]) | {"message": "nothing happened"}))
        # The forged line is spelled with spaces, so that these words are in the recorded ones only.
        without = f'{QUERY} != `"id":"{deleted}"` != `"id":"{altered}"`'
        damaged = log.verify(export(loki, tmp_path, without))

    log.assert_complete(whole, "exact")
    assert damaged.status == 1
    assert damaged.altered() == [(sequences[0], altered)]
    assert damaged.ranges() == [(sequences[1], sequences[1])]
