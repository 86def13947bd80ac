"""The table of faults: every row is run by test_faults.py, and has its row in docs/explanation/faults.md.

A module of this folder has the rows of one family, in its FAULTS.
"""

from faults import (
    clocks,
    damage,
    disk,
    disk_service,
    exhaustion,
    failovers,
    foreign,
    kills,
    node_faults,
    power_cuts,
    receivers,
    sealer,
    sealer_power,
    simulated,
    stops,
    upgrades,
    worst,
)
from faults.frame import Fault

FAULTS: tuple[Fault, ...] = (
    *kills.FAULTS,
    *stops.FAULTS,
    *power_cuts.FAULTS,
    *upgrades.FAULTS,
    *disk.FAULTS,
    *disk_service.FAULTS,
    *clocks.FAULTS,
    *damage.FAULTS,
    *receivers.FAULTS,
    *exhaustion.FAULTS,
    *foreign.FAULTS,
    *simulated.FAULTS,
    *worst.FAULTS,
    *node_faults.FAULTS,
    *failovers.FAULTS,
    *sealer.FAULTS,
    *sealer_power.FAULTS,
)
