"""Who may call what in the console: one table of all calls. The console answers nothing while table and routes differ."""

import enum


class Need(enum.StrEnum):
    """What a call needs."""

    OPEN = "open"  # no session
    ANY = "any"  # any session
    READ = "read"  # a session that may read the organization in the URL
    WRITE = "write"  # a session that may change it
    OPERATOR = "operator"  # a session of the operator


ORGANIZATION = "/console/o/{org_id:str}"
"""Path of an organization's overview, as routes spell it."""
DESTINATION = ORGANIZATION + "/d/{destination_id:str}"
KEYS = ORGANIZATION + "/keys"
KEY = KEYS + "/{key_id:str}"
PROOF = ORGANIZATION + "/proof"
LINKS = ORGANIZATION + "/links"
LINK = LINKS + "/{link_id:str}"
_ORGANIZATION = "/console/o/{org_id}"
_KEY = _ORGANIZATION + "/keys/{key_id}"
_DESTINATION = _ORGANIZATION + "/d/{destination_id}"

LIVE = _ORGANIZATION + "/live"
"""The stream of what a page shows, as the table spells it."""

NEEDS: dict[tuple[str, str], Need] = {
    ("GET", "/"): Need.OPEN,
    ("GET", "/console"): Need.OPEN,
    ("POST", "/console"): Need.OPEN,
    ("GET", "/console/brand.css"): Need.OPEN,
    ("GET", "/console/link"): Need.OPEN,
    ("POST", "/console/link"): Need.OPEN,
    ("POST", "/console/sign-out"): Need.ANY,
    ("GET", "/console/static/{edition}/{name}"): Need.OPEN,
    ("GET", _ORGANIZATION): Need.READ,
    ("GET", LIVE): Need.READ,
    ("POST", _ORGANIZATION + "/sample"): Need.WRITE,
    ("GET", _ORGANIZATION + "/events"): Need.READ,
    ("GET", _ORGANIZATION + "/export"): Need.READ,
    ("GET", _ORGANIZATION + "/events/{event_id}"): Need.READ,
    ("GET", _ORGANIZATION + "/event-bytes/{event_id}"): Need.READ,
    ("POST", _ORGANIZATION + "/send"): Need.WRITE,
    ("GET", _ORGANIZATION + "/search"): Need.READ,
    ("GET", _ORGANIZATION + "/new"): Need.WRITE,
    ("POST", _ORGANIZATION + "/new"): Need.WRITE,
    ("POST", _ORGANIZATION + "/new/check"): Need.WRITE,
    ("GET", _DESTINATION + "/first"): Need.READ,
    ("GET", _DESTINATION): Need.READ,
    ("GET", _DESTINATION + "/settings"): Need.READ,
    ("POST", _DESTINATION + "/settings"): Need.WRITE,
    ("POST", _DESTINATION + "/delete"): Need.WRITE,
    ("POST", _DESTINATION + "/test"): Need.WRITE,
    ("POST", _DESTINATION + "/pause"): Need.WRITE,
    ("POST", _DESTINATION + "/resume"): Need.WRITE,
    ("GET", _ORGANIZATION + "/keys"): Need.READ,
    ("POST", _ORGANIZATION + "/keys"): Need.WRITE,
    ("GET", _KEY): Need.WRITE,
    ("POST", _KEY + "/rotate"): Need.WRITE,
    ("POST", _KEY + "/revoke"): Need.WRITE,
    ("GET", _ORGANIZATION + "/links"): Need.WRITE,
    ("GET", _ORGANIZATION + "/links/{link_id}"): Need.WRITE,
    ("POST", _ORGANIZATION + "/links/{link_id}/revoke"): Need.WRITE,
    ("GET", _ORGANIZATION + "/deliveries"): Need.READ,
    ("GET", _DESTINATION + "/attempts"): Need.READ,
    ("GET", _DESTINATION + "/attempts/{delivery_id}"): Need.READ,
    ("POST", _DESTINATION + "/attempts/{delivery_id}/send"): Need.WRITE,
    ("GET", _DESTINATION + "/dead-letters"): Need.READ,
    ("GET", _DESTINATION + "/dead-letters/redrive"): Need.WRITE,
    ("POST", _DESTINATION + "/dead-letters/redrive"): Need.WRITE,
    ("GET", _DESTINATION + "/dead-letters/purge"): Need.WRITE,
    ("POST", _DESTINATION + "/dead-letters/purge"): Need.WRITE,
    ("POST", _DESTINATION + "/dead-letters/export"): Need.READ,
    ("POST", _DESTINATION + "/dead-letters/jobs/{job_id}/cancel"): Need.WRITE,
    ("GET", _DESTINATION + "/replays"): Need.READ,
    ("POST", _DESTINATION + "/replays"): Need.WRITE,
    ("POST", _DESTINATION + "/replays/{replay_id}/cancel"): Need.WRITE,
    ("GET", _ORGANIZATION + "/audit"): Need.READ,
    ("GET", _ORGANIZATION + "/sources"): Need.READ,
    ("GET", _ORGANIZATION + "/proof"): Need.READ,
    ("GET", _ORGANIZATION + "/proof/checkpoint"): Need.READ,
    ("GET", _ORGANIZATION + "/proof/bundle"): Need.READ,
    ("GET", _ORGANIZATION + "/proof/mode"): Need.WRITE,
    ("POST", _ORGANIZATION + "/proof/mode"): Need.WRITE,
    ("POST", _ORGANIZATION + "/proof/seal"): Need.WRITE,
    ("GET", _ORGANIZATION + "/event-proof/{event_id}"): Need.READ,
    ("GET", "/console/operator"): Need.OPERATOR,
    ("POST", "/console/operator"): Need.OPERATOR,
    ("POST", "/console/operator/enter"): Need.OPERATOR,
    ("POST", "/console/operator/link"): Need.OPERATOR,
    ("GET", "/console/operator/write"): Need.OPERATOR,
    ("POST", "/console/operator/write"): Need.OPERATOR,
}
"""Every call, and what it needs."""


def check_needs(answered: set[tuple[str, str]]) -> None:
    """Check that every call has its row in the table, and every row its call. Raises: RuntimeError."""
    lacking, idle = answered - NEEDS.keys(), NEEDS.keys() - answered
    if lacking or idle:
        raise RuntimeError(
            f"console/rights.py must have a row for every call: missing {sorted(lacking)}, left over {sorted(idle)}"
        )
