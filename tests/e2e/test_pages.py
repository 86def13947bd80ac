"""The steps of README.md and of the tutorial, run as written: every command works, and prints what the page shows."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.docs import read
from support.processes import free_port
from support.service import running_service, stop, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not all(shutil.which(one) for one in ("bash", "curl", "jq")), reason="needs bash, curl and jq"
    ),
]
CHANGING = (
    (r"\b(dst|rpl)_\w+", r"\1"),  # ids
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'"(latency_ms|p50_ms|p99_ms)":[\d.]+', r'"\1":MS'),
    (r"\d+\.\d ms", "MS"),
    (r"\s", ""),
)
"""What differs from run to run, and what stands in its place when outputs are compared."""


def steps(page: str) -> Iterator[tuple[str, str | None]]:
    """Yield each shell block of a page's steps, with the output that the next block shows, if it shows one."""
    text = re.split("^## (?:Receive events|Next)", read(page), flags=re.MULTILINE)[0]
    text = text.partition("## The same by hand")[2] or text
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for (language, code), (following, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "sh":
            yield code, shown if following in ("json", "text") else None


def comparable(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, stand_in in CHANGING:
        text = re.sub(pattern, stand_in, text)
    return text


class Receiver:
    """The receiver of the page, in a folder, started and stopped as the steps say."""

    def __init__(
        self, folder: Path, port: int, options: tuple[str, ...], environment: dict[str, str]
    ) -> None:
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


@pytest.mark.parametrize(
    ("page", "options"), [("README.md", ()), ("docs/tutorial/first-delivery.md", ("--bearer", "s3cret"))]
)
def test_the_steps_print_what_the_page_shows(tmp_path, page, options):
    """Whoever follows a page by hand sees its answers, up to ids, times and latencies."""
    port = free_port()
    with running_service(tmp_path, AEGIS_AUDIT_ACTIONS="true") as service:
        wait_until(lambda: "worker.started" in service.log.read_text(encoding="utf-8"), seconds=30)
        path = f"{Path(sys.executable).parent}:{service.environment['PATH']}"
        environment = service.environment | {"PATH": path}
        shell, receiver = Shell(tmp_path, environment), Receiver(tmp_path, port, options, environment)

        def here(text: str) -> str:
            """Return a text of the page with the addresses of this test."""
            text = text.replace("http://127.0.0.1:8700", service.url)
            return text.replace(":8800", f":{port}").replace("port 8800", f"port {port}")

        try:
            for code, shown in steps(page):
                if "nobody listens" in code or "logout" in code:
                    receiver.stop()
                elif "redrive" in code:
                    receiver.start()
                said = shell.run(here(code))
                assert comparable(said).endswith(comparable(here(shown or ""))), code
        finally:
            shell.end()
            receiver.stop()
