"""The console while its database is gone: it says so in words, does nothing, and goes on afterwards."""

import re

import httpx
import pytest

from support.postgres import running_server
from support.processes import service_group
from support.service import OPERATOR_KEY, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FROM_OUR_PAGE = {"Sec-Fetch-Site": "same-origin"}


def test_the_console_without_its_database(tmp_path):
    """With PostgreSQL killed, signing in and a form are 503 in words with the seconds to wait, and neither names the database; with it back, the same sign-in succeeds."""
    with (
        running_server("outage") as server,
        server.database() as url,
        service_group(tmp_path, AEGIS_OPERATOR_KEY=OPERATOR_KEY, AEGIS_DATABASE_URL=url) as group,
        httpx.Client(base_url=group.url, headers=FROM_OUR_PAGE, trust_env=False, timeout=60) as http,
    ):
        group.start()
        made = http.post(
            "/api/orgs",
            json={"name": "Outage", "id": "org_outage"},
            headers={"Authorization": f"Bearer {OPERATOR_KEY}"},
        ).json()
        home = http.post("/console", data={"key": made["api_key"]}, follow_redirects=True)
        token = re.search(r'name="csrf" value="([^"]+)"', home.text)[1]
        server.kill()
        field = http.get("/console?next_path=/console/o/org_outage")
        # A key that nobody has used yet: the known one would be admitted from memory for a second.
        refused = http.post("/console", data={"key": "aegis_sk_" + "A" * 43})
        undone = http.post("/console/o/org_outage/sample", data={"csrf": token})
        server.start()
        wait_until(group.is_ready)
        again = http.post("/console", data={"key": made["api_key"]})

    assert home.status_code == 200
    assert field.status_code == 200
    for answer in (refused, undone):
        assert answer.status_code == 503, answer.text
        assert "Try again in" in answer.text
        assert str(server.port) not in answer.text
        assert "Traceback" not in answer.text
    assert "Not signed in" in refused.text
    assert "unknown API key" not in refused.text
    assert "Nothing was done." in undone.text
    assert again.status_code == 303
