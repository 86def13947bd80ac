"""How to send an event, in several languages, ready to be pasted: address and organization are filled in, the key is a variable."""

from typing import NamedTuple

from .commands import quoted

_BODY = '{"event": {"dataset": "my.app", "action": "login"}, "message": "Ada signed in"}'


class Snippet(NamedTuple):
    """One way to send an event.

    Args:
        name: of the language or program.
        note: what it needs, "" for nothing.
    """

    name: str
    text: str
    note: str = ""


def snippets(base: str, org_id: str) -> tuple[Snippet, ...]:
    """Return the ways to send an event to an organization.

    Args:
        base: scheme and host of this service.
    """
    url = f"{base}/api/orgs/{org_id}/events"
    return (
        Snippet("curl", _curl(url)),
        Snippet("Python", _python(url)),
        Snippet("aegis", _aegis(base, org_id)),
    )


def further_snippets(base: str, org_id: str) -> tuple[Snippet, ...]:
    """Return ways to send what is no single event of its own making.

    Args:
        base: scheme and host of this service.
    """
    url = f"{base}/api/orgs/{org_id}/events"
    decision = f"{base}/api/orgs/{org_id}/preflight-decisions"
    return (
        Snippet(
            "curl, many events",
            _post(url, r"$'" + f"{_BODY}\\n{_BODY}'", "application/x-ndjson"),
            "One event a line; up to 10,000 in a request. With gzip or zstd: set Content-Encoding.",
        ),
        Snippet(
            "curl, a document of many events",
            _post(f"{url}?unwrap=Records", quoted(f'{{"Records": [{_BODY}]}}')),
            "For exports such as CloudTrail's: unwrap names the list that holds the events.",
        ),
        Snippet(
            "curl, a preflight decision",
            _post(decision, quoted('{"decision": "BLOCKED", "summary": "Detected SSN; blocked."}')),
            "The service builds the event.",
        ),
    )


def _post(url: str, body: str, media: str = "application/json") -> str:
    """Return a call with curl.

    Args:
        body: as a word of the shell.
    """
    lines = [
        f"curl --fail-with-body {quoted(url)}",
        '  -H "Authorization: Bearer $AEGIS_API_KEY"',
        f"  -H 'Content-Type: {media}'",
        f"  --data-binary {body}",
    ]
    return " \\\n".join(lines)


def _curl(url: str) -> str:
    lines = [
        f"curl --fail-with-body {quoted(url)}",
        '  -H "Authorization: Bearer $AEGIS_API_KEY"',
        "  -H 'Content-Type: application/json'",
        f"  -d {quoted(_BODY)}",
    ]
    return " \\\n".join(lines)


def _python(url: str) -> str:
    return "\n".join(
        (
            "import json, os, urllib.request",
            "",
            f"event = {_BODY}",
            "request = urllib.request.Request(",
            f"    {url!r},",
            "    data=json.dumps(event).encode(),",
            '    headers={"Authorization": "Bearer " + os.environ["AEGIS_API_KEY"], "Content-Type": "application/json"},',
            ")",
            "print(urllib.request.urlopen(request, timeout=10).read().decode())",
        )
    )


def _aegis(base: str, org_id: str) -> str:
    lines = [
        f"export AEGIS_URL={quoted(base)} AEGIS_ORG={quoted(org_id)}",
        f"echo {quoted(_BODY)} | aegis event send",
    ]
    return "\n".join(lines)
