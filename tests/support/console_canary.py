"""Looks at every page of the console and sends every form, and keeps the answers, so that they can be searched for secrets."""

import re
from collections.abc import Mapping
from typing import Any

import httpx

from aegis_stream.console.rights import Need
from support.canaries import Found, canary
from support.walk import calls, filled, pages

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')
_DRAFT = re.compile(r'name="draft" value="([^"]+)"')
_HELD = re.compile(r'name="held" value="([^"]+)"')
_KEY = re.compile(rb"aegis_sk_[A-Za-z0-9]{20,}")


class ConsoleVisitor:
    """Somebody at the console of a running service.

    Args:
        planted: where secrets are noted that are typed, or shown once.
    """

    def __init__(self, url: str, planted: dict[str, str | bytes]) -> None:
        """Open a window."""
        self.http = httpx.Client(
            base_url=url, headers={"Sec-Fetch-Site": "same-origin"}, trust_env=False, timeout=60
        )
        self.planted = planted
        self.answers: list[Found] = []
        self.page = ""

    def secret(self, what: str) -> str:
        """Return a new secret that no answer may hold."""
        made = canary()
        self.planted[f"{what} typed in the console {len(self.planted)}"] = made
        return made

    def get(self, path: str) -> httpx.Response:
        """Open a page."""
        return self._keep(self.http.get(path), path)

    def post(self, path: str, fields: Mapping[str, Any] | None = None) -> httpx.Response:
        """Send a form with the token of the page that was shown last."""
        token = _CSRF.search(self.page)
        given = ({"csrf": token[1]} if token else {}) | dict(fields or {})
        return self._keep(self.http.post(path, data=given), path)

    def value(self, pattern: re.Pattern[str]) -> str:
        """Return a hidden field of the page that was shown last."""
        found = pattern.search(self.page)
        assert found, self.page[-2000:]
        return found[1]

    def _keep(self, answer: httpx.Response, path: str) -> httpx.Response:
        content = answer.content
        for number, text in enumerate(_KEY.findall(content)):  # a new key, shown once
            self.planted[f"API key of the console {len(self.planted)}.{number}"] = text
            content = content.replace(text, b"")
        where = f"{answer.request.method} {path.partition('?')[0]} of the console → {answer.status_code}"
        self.answers.append((where, content + repr(answer.headers).encode()))
        if answer.headers.get("content-type", "").startswith("text/html"):
            self.page = answer.text
        return answer

    def close(self) -> None:
        """Close the window."""
        self.http.close()


def look_at_the_console(
    url: str, keys: Mapping[str, str], objects: Mapping[str, str], planted: dict[str, str | bytes]
) -> list[Found]:
    """Sign in, open every page, and send every form, with secrets where somebody can type one.

    Args:
        keys: the keys of "admin" and "operator".
        objects: ids by the names that paths have for them.
        planted: where secrets are noted.
    Returns: every answer, with its headers.
    """
    visitor, operator = ConsoleVisitor(url, planted), ConsoleVisitor(url, planted)
    try:
        visitor.get("/console")
        visitor.post("/console", {"key": f"aegis_sk_{visitor.secret('wrong key')}"})
        for one, key in ((visitor, keys["admin"]), (operator, keys["operator"])):
            signed_in = one.post("/console", {"key": key})
            assert signed_in.status_code == 303, signed_in.text
        operator.get("/console/operator")
        operator.post("/console/operator/enter", {"org_id": objects["org_id"]})
        for path in pages():
            if path.endswith("/live") or "/static/" in path:
                continue  # a stream, which the API has as well, and our own files
            where = filled(path, objects)
            answer = (operator if "/operator" in path else visitor).get(where)
            wanted = (404,) if "{job_id}" in path else (200, 303)  # so few dead letters need no job
            assert answer.status_code in wanted, (where, answer.status_code, answer.text[-600:])
        _type_secrets(visitor, objects)
        visitor.get(f"/console/o/{objects['org_id']}/new?kind=generic-https")
        for path in calls("POST", Need.READ, Need.WRITE, Need.OPERATOR):
            (operator if "/operator" in path else visitor).post(filled(path, objects))
        # Those who wait for its deliveries would wait for ever if it stayed paused.
        for action, seen in (("pause", "running"), ("resume", "paused")):
            path = f"/console/o/{objects['org_id']}/d/{objects['destination_id']}/{action}"
            answer = visitor.post(path, {"state": seen})
            assert answer.status_code == 303, answer.text
        visitor.post("/console/sign-out")
        return visitor.answers + operator.answers
    finally:
        visitor.close()
        operator.close()


def _type_secrets(visitor: ConsoleVisitor, objects: Mapping[str, str]) -> None:
    """Type secrets into every form that takes one: wrong and right, tested, saved, and after the end of the session."""
    home = f"/console/o/{objects['org_id']}"
    new, settings = f"{home}/new", f"{home}/d/{objects['destination_id']}/settings"
    visitor.get(f"{new}?kind=generic-https")
    typed = {"kind": "generic-https", "v-url": "https://10.0.0.5/x", "v-secret": visitor.secret("token")}
    typed |= {"h_name_0": "X-Key", "h_value_0": visitor.secret("header"), "name": "of the console"}
    assert visitor.post(new, typed | {"test": "1"}).status_code == 422
    for url, button in ((objects["url"], "test"), (objects["url"], "save")):
        visitor.post(new, {**typed, "v-url": url, button: "1", "draft": visitor.value(_DRAFT)})
    visitor.get(settings)
    changes = {"auth_header_name": "X-Auth", "auth_header_value": visitor.secret("credential")}
    changes |= {"h_name_0": "X-Other", "h_value_0": visitor.secret("header"), "max_events": "many"}
    refused = visitor.post(settings, changes | {"draft": visitor.value(_DRAFT)})
    assert refused.status_code == 422, refused.text
    looked = visitor.post(settings, {"max_events": "9", "draft": visitor.value(_DRAFT)})
    assert "What changes" in looked.text, looked.text
    saved = visitor.post(settings, {"confirmed": "1", "anyway": "1", "draft": visitor.value(_DRAFT)})
    assert saved.status_code == 303, saved.text
    visitor.get(saved.headers["location"])
    visitor.get(settings)
    visitor.post(f"{home}/keys", {"name": "of the console", "scope": "read"})
    stranger = ConsoleVisitor(str(visitor.http.base_url), visitor.planted)
    held = stranger.post(
        settings, {"auth_header_value": stranger.secret("credential of a form that is kept")}
    )
    assert held.status_code == 401, held.text
    stranger.post("/console", {"key": "aegis_sk_wrong", "held": stranger.value(_HELD)})
    stranger.close()
    visitor.answers += stranger.answers
