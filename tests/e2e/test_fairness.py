"""Well-behaved clients beside others that hold everything they can: they are answered, and the API's memory stays bounded."""

import pytest
from bench.fairness import CLIENTS, LISTED, reconcile, scene
from bench.plan import Options

MEMORY_MIB_MAX = 300
KEYLESS = (("unread", 2_500), ("heads", 1_000), ("kept", 1_000), ("ahead", 500))
WITH_KEY = (("bodies", 200), ("lists", 100))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("apart", [True, False], ids=["other addresses", "one address"])
def test_clients_are_answered_beside_attackers(tmp_path, apart):
    """Beside 5,000 connections without a key and 300 with one, every event of 20 other organizations is acknowledged in time."""
    assert LISTED >= 1_000, "a list is a large answer"
    with scene(tmp_path / "scene", Options(), apart=apart) as one:
        one.attacked(3.0, (*KEYLESS, *WITH_KEY))
        counts = reconcile(one)

    assert [sorted(failed) for failed in one.failed] == [[]] * CLIENTS
    assert counts.acknowledged >= CLIENTS
    assert one.mib <= MEMORY_MIB_MAX
