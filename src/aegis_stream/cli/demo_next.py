"""What to try after the steps of the demonstration: commands to copy, and the key that they need."""

import json
import os
import shlex
from contextlib import ExitStack
from urllib.parse import quote

from .client import Client
from .demo_context import DemoContext
from .demo_proof import CHECKPOINT, KEY
from .demo_receiver import Receiving

CONSOLE_S = 86_400
"""How long the link to the console may wait to be opened, seconds: the demonstration runs until Ctrl-C."""


def write_keys(context: DemoContext, stack: ExitStack, url: str, api_key: str) -> None:
    """Write the key to files that the proposed commands read; the stack removes them."""
    files = {
        "auth-header": f"Authorization: Bearer {api_key}\n",
        "env": f"export AEGIS_URL={url} AEGIS_API_KEY={api_key}\n",
    }
    for name, text in files.items():
        path = context.folder / name
        path.unlink(missing_ok=True)
        stack.callback(path.unlink, missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    stack.callback(context.failing.unlink, missing_ok=True)


def make_console_link(client: Client) -> str:
    """Return a URL that opens the console of the organization once, for as long as somebody may look at the demonstration."""
    body = {"scope": "admin", "expires_seconds": CONSOLE_S}
    url: str = client.call("POST", client.org_path("console-links"), body=body)["url"]
    return url


def say_what_next(
    context: DemoContext, addresses: tuple[str, str], destination_id: str, receiver: Receiving, event_id: str
) -> None:
    """Print commands to try.

    Args:
        addresses: the service's URL, and the one that opens its console once.
        event_id: an event that has arrived.
    """
    url, opens = addresses
    base = f"{url}/api/orgs/{context.org_id}"
    header = shlex.quote(f"@{context.folder / 'auth-header'}")
    failing, env = shlex.quote(str(context.failing)), shlex.quote(str(context.folder / "env"))
    decision = json.dumps({"decision": "BLOCKED", "destination": "VENDOR", "summary": "Two card numbers."})
    redrive = f"{base}/forwarding-destinations/{destination_id}/dead-letters/redrive"
    json_type = "-H 'Content-Type: application/json'"
    context.screen.say(
        f"Open the console, once: {opens}",
        f"API documentation: {url}/docs",
        "",
        "Try next, in another terminal:",
        "   # record an event; it appears here",
        f"   curl -sS {base}/preflight-decisions -H {header} {json_type} -d '{decision}'",
        "   # list the destinations",
        f"   curl -sS {base}/forwarding-destinations -H {header}",
        "   # show an event and its deliveries",
        f"   curl -sS {base}/events/{quote(event_id, safe='')} -H {header}",
        "   # show the counts of the receiver",
        f"   curl -sS --cacert {shlex.quote(str(receiver.ca_certificate))} {receiver.url}",
        "   # verify what the receiver has by now, or after the end: it needs no service",
        f"   cd {shlex.quote(str(context.folder))}; aegis verify received.ndjson --key {KEY} --checkpoint {CHECKPOINT}",
        "   # make the receiver fail; then record another event and watch retries and a dead letter",
        f"   touch {failing}",
        "   # let the receiver work again, and redrive the dead letters",
        f"   rm {failing}; curl -sS -X POST {redrive} -H {header} {json_type} -d '{{}}'",
        "   # the same with the command line",
        f"   . {env}; aegis destination show {destination_id} --org {context.org_id}",
        f"   . {env}; aegis event tail --org {context.org_id}",
        "",
        "Runs until Ctrl-C.",
    )
