"""Promises about the ids of events in paths."""

import pytest

from aegis_stream.api.event_paths import whole_ids

BASE = "/api/orgs/org_a/events"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", BASE, BASE),
        ("GET", f"{BASE}/evt_1", f"{BASE}/evt_1"),
        ("GET", f"{BASE}/a/b", f"{BASE}/a%2Fb"),
        ("GET", f"{BASE}/a/send", f"{BASE}/a%2Fsend"),
        ("POST", f"{BASE}/a/send", f"{BASE}/a/send"),
        ("POST", f"{BASE}/a//b/send", f"{BASE}/a%2F%2Fb/send"),
        ("POST", f"{BASE}/send", f"{BASE}/send"),
        ("PUT", f"{BASE}/a/b/send", f"{BASE}/a%2Fb/send"),
        ("GET", f"{BASE}/a/events/b", f"{BASE}/a%2Fevents%2Fb"),
        ("GET", "/api/orgs/org_a/x/events/a/b", "/api/orgs/org_a/x/events/a/b"),
        ("GET", "/healthz", "/healthz"),
    ],
)
def test_the_id_of_an_event_is_one_part_of_the_path(method, path, expected):
    """The slashes of an event's id are no ends of parts; those of every other path stay."""
    assert whole_ids(method, path) == expected
