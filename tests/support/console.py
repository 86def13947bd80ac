"""A person at the console, without a browser: keeps cookies, follows forms.

visitor = Visitor(world)
await visitor.sign_in(tenant.admin.key)
page = await visitor.get("/console/o/org_abc")
await visitor.post("/console/sign-out")
"""

import html
import re
from dataclasses import dataclass, field
from typing import Any

import httpx

from support.api import World

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')
OWN = {"host": "127.0.0.1", "sec-fetch-site": "same-origin"}
"""What a browser on this machine sends."""


@dataclass
class Visitor:
    """One browser at the console."""

    world: World
    cookies: dict[str, str] = field(default_factory=dict)
    page: str = ""
    """The page that was shown last."""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Open a page; redirects are not followed."""
        return await self._send("GET", path, headers, None)

    async def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Send a form with the token of the page that was shown last."""
        token = _CSRF.search(self.page)
        given = ({"csrf": html.unescape(token[1])} if token else {}) | (fields or {})
        return await self._send("POST", path, headers, given)

    async def sign_in(self, key: str, next_path: str = "") -> httpx.Response:
        """Sign in with a key and open the page that follows; returns the answer to the form."""
        answer = await self.post("/console", {"key": key, "next_path": next_path})
        if answer.status_code == 303:
            await self.get(answer.headers["location"])
        return answer

    async def _send(
        self, method: str, path: str, headers: dict[str, str], fields: dict[str, Any] | None
    ) -> httpx.Response:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = (
            OWN
            | ({"cookie": cookie} if cookie else {})
            | {name.replace("_", "-"): value for name, value in headers.items()}
        )
        self.world.client.cookies.clear()  # each visitor has cookies of their own
        answer = await self.world.client.request(method, path, headers=sent, data=fields)
        for one in answer.headers.get_list("set-cookie"):
            name, _, rest = one.partition("=")
            value = rest.partition(";")[0].strip('"')
            if value and "max-age=0" not in one.lower():
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        if answer.headers.get("content-type", "").startswith("text/html"):
            self.page = answer.text
        return answer


async def signed_in(world: World, key: str) -> Visitor:
    """Return somebody who has signed in with a key."""
    visitor = Visitor(world)
    await visitor.sign_in(key)
    return visitor


def stream_of(page: str) -> str:
    """Return the path of the stream that a page opens."""
    found = re.search(r'data-stream="([^"]+)"', page)
    assert found is not None
    return html.unescape(found[1])


async def cells_of(visitor: Visitor, page: str) -> dict[str, Any]:
    """Return the cells that a page is told now."""
    answer = await visitor.get(stream_of(page), accept="application/json")
    cells: dict[str, Any] = answer.json()["cells"]
    return cells
