"""Golden files: what each format sends for the same few events, byte for byte.

tests/golden/README.md describes the files. After an intended change, `python tests/unit/formats/test_golden.py` writes them again,
and the diff is what to review.
"""

from pathlib import Path

import pytest

from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.parsing import parse_event
from aegis_stream.formats import REGISTRY, Format, with_query

GOLDEN = Path(__file__).parents[2] / "golden"


def read_events() -> list[bytes]:
    """Return the events as they are stored."""
    return (GOLDEN / "events.txt").read_bytes().removesuffix(b"\n").split(b"\n\n")


def request_of(format_: Format) -> bytes:
    """Return what a format sends: all events, or only the first if it sends them one by one."""
    events = read_events()
    request = format_.encode(events if format_.batches else events[:1])
    path, mark, query = with_query(format_, "/in").partition("?")
    head = f"POST {path}{request.path_suffix}{mark}{query} HTTP/1.1\nContent-Type: {request.content_type}\n\n"
    return head.encode() + request.body


def test_the_events_are_fit_for_the_log():
    """Ingest accepts the golden events byte for byte."""
    for event in read_events():
        taken = parse_event(event, OrganizationId("org_abc"), Micros(0), lambda: "none")
        assert isinstance(taken, NewEvent), taken
        assert taken.body.encode() == event


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_the_request_is_the_golden_one(name):
    """Every format sends exactly the bytes of its golden file."""
    assert request_of(REGISTRY[name]) == (GOLDEN / name / "request.http").read_bytes()


def test_no_golden_file_is_left_over():
    """Every format has a golden file, and there are no others."""
    assert {one.parent.name for one in GOLDEN.glob("*/request.http")} == set(REGISTRY)


if __name__ == "__main__":
    for name, format_ in REGISTRY.items():
        (GOLDEN / name).mkdir(exist_ok=True)
        (GOLDEN / name / "request.http").write_bytes(request_of(format_))
