"""Prints a line for each run of a fault at the end of the session: its seed, and what came of it."""

from typing import Any


def _line(record: dict[str, Any]) -> str:
    counts = ", ".join(
        f"{name} {record[name]}"
        for name in ("runs", "acked", "lost", "wrong", "repeats", "recovery_max_s", "seconds")
    )
    return f"{record['fault']}: seed {record['seed']}, {counts}"


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the seeds, also those of runs that passed."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, [])]
    runs = [value for one in reports for name, value in one.user_properties if name == "fault_run"]
    if runs:
        terminalreporter.section("faults")
        for record in sorted(runs, key=lambda one: one["fault"]):
            terminalreporter.write_line(_line(record))
