"""The rounds of each workload, and their figures against the targets."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .plan import Round, Workload


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a figure: a minimum or a maximum."""

    value: float
    at_least: bool

    def met_by(self, value: float) -> bool:
        """Return whether a value reaches the target."""
        return value >= self.value if self.at_least else value <= self.value


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure over all rounds; its median is compared with the target."""

    name: str
    values: list[float]
    target: Target | None = None

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether it reaches its target; None if it has none."""
        return None if self.target is None else self.target.met_by(self.median)


@dataclass(slots=True)
class Result:
    """All rounds of one workload.

    Args:
        base: the result that is the reference, if the workload has one.
        failed: why there are no more rounds; empty if nothing failed.
    """

    workload: Workload
    ours: list[Round] = field(default_factory=list)
    peer: list[Round] = field(default_factory=list)
    base: "Result | None" = None
    failed: str = ""

    def figures(self) -> list[Figure]:
        """Return our figures in the order of the table; figures from two workloads or two sides come last."""
        asked = self.workload.targets
        found = [
            Figure(
                name,
                [one.figures[name] for one in self.ours],
                Target(asked[name], "rate" in name) if name in asked else None,
            )
            for name in (self.ours[0].figures if self.ours else ())
        ]
        return [*found, *(one for one in (self.ratio, self.share) if one is not None)]

    def rates(self, *, peer: bool = False) -> list[float]:
        """Return the rates of all rounds; empty if the workload has another figure."""
        return [one.figures["rate"] for one in (self.peer if peer else self.ours) if "rate" in one.figures]

    @property
    def ratio(self) -> Figure | None:
        """Our rate divided by the peer's of the same round."""
        return _compared("× syslog-ng", self.ours, self.peer, self.workload.ratio)

    @property
    def share(self) -> Figure | None:
        """Our rate divided by that of the base workload in the same round."""
        if self.base is None:
            return None
        name = f"× rate of {self.base.workload.name}"
        return _compared(name, self.ours, self.base.ours, self.workload.base_share)


def _compared(
    name: str, ours: Sequence[Round], others: Sequence[Round], asked: float | None
) -> Figure | None:
    """Return the ratios of rounds with the same number, which ran one after the other on the same machine; None if there are
    none."""
    rates = {one.number: one.figures["rate"] for one in others}
    ratios = [one.figures["rate"] / rates[one.number] for one in ours if one.number in rates]
    target = None if asked is None else Target(asked, at_least=True)
    return Figure(name, ratios, target) if ratios else None
