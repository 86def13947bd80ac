"""Follows a page of the documentation as a person does: its commands in one shell, its receivers, and what it shows of their output."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from support.service import stop, wait_until

CHANGING = (
    (r"\b(dst|rpl)_\w+", r"\1"),  # ids
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'"(latency_ms|p50_ms|p99_ms)":[\d.]+', r'"\1":MS'),
    (r"\d+\.\d ms", "MS"),
    (r"aegis-[0-9a-f]{8}/", "LOG/"),
    (r"\+[0-9a-f]{8}\+[\w+/=]{44}", "+KEY"),
    (r"(?m)^[\w+/]{43}=$", "ROOT"),
    (r"(?m)^(— \S+) [\w+/=]{80,}$", r"\1 SIGNATURE"),
    (r"events [\d,]+ to [\d,]+", "events N to N"),
    (r"present +[\d,]+ +exact [\d,]+", "present N exact N"),
    (r"begins +at [\d,]+", "begins at N"),
    (r"before +[\d,]+ events", "before N events"),
    (r" +twice [\d,]+", ""),
    (r"(?m)^ +\d+ (.* \S+):\d+  \(recorded .*\)$", r"N \1:N THEN"),
    (r"\s", ""),
)
"""What differs from run to run, and what stands in its place when outputs are compared."""


def blocks(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield each shell block of a text, with the output that the next block shows, if it shows one."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for (language, code), (following, shown) in zip(found, [*found[1:], ("", "")], strict=True):
        if language == "sh":
            yield code, shown if following in ("json", "text") else None


def comparable(text: str, further: Iterable[tuple[str, str]] = ()) -> str:
    """Return a text without what differs from run to run: CHANGING, and `further` before it."""
    for pattern, stand_in in (*further, *CHANGING):
        text = re.sub(pattern, stand_in, text)
    return text


class Receiver:
    """The receiver of the page, in a folder, started and stopped as the steps say; `record` is the file of its requests."""

    def __init__(
        self, folder: Path, port: int, options: tuple[str, ...], environment: dict[str, str]
    ) -> None:
        self.record = folder / "received.ndjson"
        self._command = [sys.executable, "-m", "aegis_stream", "receiver", "--port", str(port)]
        self._command += ["--record", "received.ndjson", *options]
        self._folder, self._environment, self._log = folder, environment, folder / "receiver.log"
        self.start()

    def start(self) -> None:
        """Start it; return when it listens."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=output, stderr=output
            )
        wait_until(lambda: "Listening" in self._log.read_text(encoding="utf-8"), seconds=30)

    def stop(self) -> None:
        """Stop it, as Ctrl-C does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        stop(self._process)


class Shell:
    """One bash in which the steps run one after the other, as a person types them."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash"], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, code: str) -> str:
        """Run a block; return what it prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{code}\necho; echo END-OF-BLOCK\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, "")
        return "".join(iter(lambda: next(lines), "END-OF-BLOCK\n"))

    def end(self) -> None:
        """End the shell."""
        self._process.communicate(timeout=10)
