"""Reports the results: a table for people, JSON for programs."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .plan import Options, Round
from .processes import BUSY_CORES
from .result import Figure, Result, Target

HEADER = (
    "workload",
    "figure",
    "ours: median (lowest–highest)",
    "target",
    "syslog-ng",
    "CPU µs per arrival",
    "peak MiB",
)


def table(results: Sequence[Result], facts: dict[str, str]) -> str:
    """Return the table, the memory and the versions."""
    rows: list[tuple[str, ...]] = [HEADER]
    for result in results:
        for index, figure in enumerate(result.figures()):
            rows.append(_row(result, figure, first=index == 0))
        if result.workload.base and not result.share and result.ours:
            rows.append(("", f"needs {result.workload.base}", "", "", "", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    text.insert(1, "  ".join("─" * width for width in widths))
    text += ["", *(f"{one.workload.name}: {one.workload.title}" for one in results)]
    text += [f"{one.workload.name} FAILED: {one.failed}" for one in results if one.failed]
    text += busy_lines(results)
    text += ["", *memory_lines(results)]
    text += ["", *(f"{name}: {value}" for name, value in facts.items())]
    return "\n".join(text)


def _row(result: Result, figure: Figure, *, first: bool) -> tuple[str, ...]:
    peer = result.rates(peer=True) if figure.name == "rate" else []
    return (
        result.workload.name if first else "",
        figure.name,
        _spread(figure.values),
        _asked(figure),
        _spread(peer),
        _cpu(result) if first else "",
        _memory(result) if first else "",
    )


def _asked(figure: Figure) -> str:
    if figure.target is None:
        return ""
    sign = "≥" if figure.target.at_least else "≤"
    return f"{sign} {_number(figure.target.value)} {'met' if figure.met else 'missed'}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = _number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cpu(result: Result) -> str:
    """Return the medians: ours, a bar, the peer's."""
    return " | ".join(
        " ".join(
            f"{name} {statistics.median([one.cpu_us[name] for one in rounds]):.1f}"
            for name in rounds[0].cpu_us
        )
        for rounds in (result.ours, result.peer)
        if rounds and rounds[0].cpu_us
    )


def _memory(result: Result) -> str:
    """Return the highest values of all rounds."""
    return " | ".join(
        " ".join(
            f"{name} {max(one.memory_mib[name]['peak'] for one in rounds):.0f}"
            for name in rounds[0].memory_mib
        )
        for rounds in (result.ours, result.peer)
        if rounds and rounds[0].memory_mib
    )


def busy_lines(results: Sequence[Result]) -> list[str]:
    """Return the rounds in which other programs were busy; their figures are less reliable."""
    return [
        f"busy machine: {result.workload.name} round {one.number}, {side}: other programs used {busy:.1f} cores"
        for result in results
        for side, rounds in (("ours", result.ours), ("syslog-ng", result.peer))
        for one in rounds
        if (busy := one.notes.get("other_cores", 0.0)) > BUSY_CORES
    ]


def memory_lines(results: Sequence[Result]) -> list[str]:
    """Return the resident memory during the last round of each workload."""
    return [
        f"{result.workload.name} {name}: first {seen['first']:.1f} MiB, last {seen['last']:.1f}, peak {seen['peak']:.1f}"
        for result in results
        for one in result.ours[-1:]
        for name, seen in one.memory_mib.items()
    ]


def as_json(results: Sequence[Result], facts: dict[str, str], options: Options) -> str:
    """Return all measurements."""
    data = {
        "facts": facts,
        "options": asdict(options) | {"program": str(options.program)},
        "workloads": {
            result.workload.name: {
                "title": result.workload.title,
                "failed": result.failed,
                "figures": {one.name: _judged(one) for one in result.figures()},
                "ours": [_round(one) for one in result.ours],
                "peer": [_round(one) for one in result.peer],
            }
            for result in results
        },
    }
    return json.dumps(data, indent=1)


def _judged(figure: Figure) -> dict[str, Any]:
    found: dict[str, Any] = {
        "median": figure.median,
        "lowest": min(figure.values),
        "highest": max(figure.values),
    }
    if isinstance(figure.target, Target):
        found |= {"at_least" if figure.target.at_least else "at_most": figure.target.value, "met": figure.met}
    return found


def _round(one: Round) -> dict[str, Any]:
    data = asdict(one)
    data["reconciliation"]["missing"] = one.reconciliation.missing
    return data
