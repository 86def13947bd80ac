"""What the runs came to: a table for people, JSON for programs, a picture with bars."""

import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import apsw

from .workloads import Round, Workload


@dataclass(slots=True)
class Result:
    """All rounds of one workload."""

    workload: Workload
    ours: list[Round] = field(default_factory=list)
    peer: list[Round] = field(default_factory=list)

    def median(self, figure: str, *, peer: bool = False) -> float | None:
        """Return the median of a figure; None where there is none."""
        values = [one.figures[figure] for one in (self.peer if peer else self.ours) if figure in one.figures]
        return statistics.median(values) if values else None

    @property
    def ratio(self) -> float | None:
        """Our rate against the peer's, the median of the rounds' ratios: each round ran side by side."""
        ratios = [
            ours.figures["rate"] / peer.figures["rate"]
            for ours, peer in zip(self.ours, self.peer, strict=False)
        ]
        return statistics.median(ratios) if ratios else None


def table(results: Sequence[Result], facts: dict[str, str]) -> str:
    """Return the table and what stood under the hood."""
    rows = [("workload", "figure", "ours", "target", "syslog-ng", "ratio", "CPU µs an event", "peak MiB")]
    for result in results:
        for index, figure in enumerate(result.ours[0].figures if result.ours else ()):
            rows.append(_row(result, figure, first=index == 0))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    text.insert(1, "  ".join("─" * width for width in widths))
    text += ["", *(f"{result.workload.name}: {result.workload.title}" for result in results)]
    text += ["", *(f"{name}: {value}" for name, value in facts.items())]
    return "\n".join(text)


def _row(result: Result, figure: str, *, first: bool) -> tuple[str, ...]:
    target = result.workload.targets.get(figure)
    sign = "≥" if figure == "rate" else "≤"
    is_rate = figure == "rate"
    ratio = result.ratio if is_rate else None
    wanted = f" (≥ {result.workload.ratio:g})" if result.workload.ratio else ""
    return (
        result.workload.name if first else "",
        figure,
        _spread([one.figures[figure] for one in result.ours if figure in one.figures]),
        f"{sign} {_number(target)}" if target is not None else "",
        _spread([one.figures[figure] for one in result.peer if figure in one.figures]) if is_rate else "",
        f"{ratio:.2f}{wanted}" if ratio is not None else "",
        _cpu(result) if first else "",
        _memory(result) if first else "",
    )


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = _number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cpu(result: Result) -> str:
    pieces = []
    for rounds in (result.ours, result.peer):
        names = list(rounds[0].cpu_us) if rounds else []
        pieces.append(
            " ".join(
                f"{name} {statistics.median([one.cpu_us.get(name, 0.0) for one in rounds]):.1f}"
                for name in names
            )
        )
    return " | ".join(piece for piece in pieces if piece)


def _memory(result: Result) -> str:
    rounds = [*result.ours[-1:], *result.peer[-1:]]
    return " ".join(f"{name} {seen['peak']:.0f}" for one in rounds for name, seen in one.memory_mib.items())


def memory_lines(results: Sequence[Result]) -> list[str]:
    """Return how resident memory went during the last round of each workload."""
    return [
        f"{result.workload.name} {name}: first {seen['first']:.1f} MiB, last {seen['last']:.1f}, peak {seen['peak']:.1f}"
        for result in results
        for one in result.ours[-1:]
        for name, seen in one.memory_mib.items()
    ]


def as_json(results: Sequence[Result], facts: dict[str, str], options: object) -> str:
    """Return everything measured."""
    data: dict[str, Any] = {
        "facts": facts,
        "options": asdict(options),  # type: ignore[call-overload] # a dataclass
        "workloads": {
            result.workload.name: {
                "title": result.workload.title,
                "targets": dict(result.workload.targets),
                "ratio": result.ratio,
                "ratio_target": result.workload.ratio,
                "ours": [asdict(one) for one in result.ours],
                "peer": [asdict(one) for one in result.peer],
            }
            for result in results
        },
    }
    return json.dumps(data, indent=1)


def picture(results: Sequence[Result]) -> str:
    """Return an SVG with bars: our rate beside the peer's, a line where the target is."""
    shown = [result for result in results if result.median("rate")]
    bar, left, width = 18, 300, 460
    height = 40 + sum((bar + 4) * (2 if result.peer else 1) + 18 for result in shown)
    longest = max(
        [1.0]
        + [result.median("rate") or 0 for result in shown]
        + [result.median("rate", peer=True) or 0 for result in shown]
        + [result.workload.targets.get("rate", 0) for result in shown]
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 110}" height="{height}">',
        '<style>text { font: 12px sans-serif }</style><rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-weight="bold">events a second; {escape("■")} ours</text>',
        f'<text x="200" y="20" fill="#8a8f98">{escape("■")} syslog-ng</text>',
    ]
    y = 36
    for result in shown:
        parts.append(
            f'<text x="10" y="{y + 13}">{escape(result.workload.name)}  {escape(result.workload.title)}</text>'
        )
        top = y
        for peer, colour in ((False, "#2456c9"), (True, "#b4b9c2")):
            value = result.median("rate", peer=peer)
            if value is None:
                continue
            length = width * value / longest
            parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar}" fill="{colour}"/>')
            parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 13}">{value:,.0f}</text>')
            y += bar + 4
        if target := result.workload.targets.get("rate"):
            x = left + width * target / longest
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 3}" y2="{y}" stroke="#c22" stroke-dasharray="3 2"/>'
            )
        y += 18
    return "\n".join([*parts, "</svg>"]) + "\n"


def versions() -> dict[str, str]:
    """Return what ran, so that figures can be compared."""
    root = Path(__file__).parent.parent
    commit = _first_line(["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"])
    packages = ("uvloop", "httptools", "uvicorn", "msgspec", "apsw")
    return {
        "machine": f"{os.cpu_count()} cores, {_processor()}, Linux {platform.release()}",
        "ours": f"commit {commit}, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        "others": ", ".join(
            (
                _version(["nginx", "-v"], r"nginx/(\S+)", "nginx"),
                _version(["wrk", "-v"], r"wrk (\S+)", "wrk"),
                _version(["syslog-ng", "--version"], r"\((\S+)\)", "syslog-ng"),
            )
        ),
        "command": " ".join([Path(sys.executable).name, "-m", "bench.run", *sys.argv[1:]]),
    }


def _version(command: list[str], pattern: str, name: str) -> str:
    found = re.search(pattern, _output(command))
    return f"{name} {found.group(1) if found else 'missing'}"


def _first_line(command: list[str]) -> str:
    return (_output(command).splitlines() or ["unknown"])[0]


def _output(command: list[str]) -> str:
    env = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=env)
    except OSError:
        return ""
    return done.stdout + done.stderr


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1) if found else platform.machine()
