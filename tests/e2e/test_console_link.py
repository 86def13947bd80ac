"""`aegis serve --print-link`: the link opens the operator's pages, from several processes, once."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.service import running_service, wait_until

pytestmark = pytest.mark.slow


def test_the_printed_link_opens_the_console_once(tmp_path):
    """Of many requests with the token, on all processes of the service, one begins a session; the log does not hold it."""
    with running_service(
        tmp_path, workers=0, api_processes=2, options=["--print-link"], AEGIS_LOG_FORMAT="json"
    ) as service:
        found = wait_until(lambda: re.search(r"(http\S+)/console/link#(\S+)", service.log.read_text()))
        token = found[2]

        def press(_: int) -> httpx.Response:
            return httpx.post(
                f"{service.url}/console/link", data={"token": token}, trust_env=False, timeout=30
            )

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(press, range(16)))
        [opened] = [one for one in answers if one.status_code == 303]
        page = httpx.get(
            f"{service.url}/console/operator", cookies=opened.cookies, trust_env=False, timeout=30
        )
        lines = service.log.read_text().splitlines()

    assert found[1] == service.url
    assert {one.status_code for one in answers} == {303, 401}
    assert page.status_code == 200
    assert "Organizations, the worst first" in page.text
    assert [token in one for one in lines].count(True) == 1
    assert not [one for one in lines if one.startswith("{") and token in one]


def test_nothing_is_printed_where_nobody_asked(tmp_path):
    """Without a terminal there is no link in the output."""
    with running_service(tmp_path, workers=0) as service:
        wait_until(lambda: "service.started" in service.log.read_text())
        httpx.get(service.url + "/healthz", trust_env=False, timeout=30)

    assert "/console/link" not in service.log.read_text()
