"""Every fault of the table is injected; what must hold afterwards, holds. `make faults` runs this file alone, and longer."""

import asyncio
import inspect

import pytest

from faults.frame import begin, factor, keep
from faults.table import FAULTS


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            one, id=one.name, marks=[pytest.mark.slow, pytest.mark.timeout(one.seconds * max(1, factor()))]
        )
        for one in FAULTS
    ],
)
def test_a_fault(fault, tmp_path, record_property):
    """The promise of the fault's row holds in every round."""
    run = begin(fault, tmp_path)
    print(f"repeat it: make faults ONLY={run.fault} SEED={run.seed}")
    try:
        played = fault.play(run)
        if inspect.iscoroutine(played):
            asyncio.run(played)
    finally:
        record_property("fault_run", run.record())
        keep(run.record())
    assert run.problems == [], fault.promise
    assert run.counts["runs"] > 0, "nothing was injected"


def test_every_fault_has_a_name_of_its_own():
    """No two rows of the table write the same ledger."""
    assert len({one.name for one in FAULTS}) == len(FAULTS)
