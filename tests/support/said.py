"""Keeps what the service logs, for tests."""

from typing import Any


class Said:
    """Replaces a telemetry.Log.

    Attributes:
        lines: name and values of every line.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def debug(self, name: str, **values: Any) -> None:
        self.lines.append((name, values))

    info = warning = error = debug

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the values of every line with this name."""
        return [values for one, values in self.lines if one == name]
