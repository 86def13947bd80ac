"""The steps of README.md and of the tutorial, run as written: every command works, and prints what the page shows."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.docs import read
from support.processes import free_port
from support.service import running_service, wait_until
from support.walkthrough import Receiver, Shell, blocks, comparable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not all(shutil.which(one) for one in ("bash", "curl", "jq")), reason="needs bash, curl and jq"
    ),
]


def steps(page: str) -> Iterator[tuple[str, str | None]]:
    """Yield each shell block of a page's steps, with the output that the page shows of it, if it shows one."""
    text = re.split("^## (?:Receive events|Next)", read(page), flags=re.MULTILINE)[0]
    return blocks(text.partition("## The same by hand")[2] or text)


def has_everything(shell: Shell) -> bool:
    """Tell whether the destination of the tutorial has everything, replays too."""
    destination = json.loads(shell.run('aegis destination show "$DST" --json'))
    replays = "$AEGIS_URL/api/orgs/$AEGIS_ORG/forwarding-destinations/$DST/replays"
    listed = json.loads(shell.run(f'curl -s {replays} -H "Authorization: Bearer $AEGIS_API_KEY"'))
    waiting = destination["stats"]["backlog"] + destination["stats"]["retrying"]
    return not waiting and all(one["state"] == "done" for one in listed["data"])


@pytest.mark.parametrize(
    ("page", "options"), [("README.md", ()), ("docs/tutorial/first-delivery.md", ("--bearer", "s3cret"))]
)
def test_the_steps_print_what_the_page_shows(tmp_path, page, options):
    """Whoever follows a page by hand sees its answers, up to ids, times and latencies."""
    port = free_port()
    with running_service(tmp_path, AEGIS_AUDIT_ACTIONS="true", AEGIS_PROOF="true") as service:
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
                elif "> export.ndjson" in code:
                    wait_until(lambda: has_everything(shell))
                said = shell.run(here(code))
                assert comparable(said).endswith(comparable(here(shown or ""))), code
        finally:
            shell.end()
            receiver.stop()
