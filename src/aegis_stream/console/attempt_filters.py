"""Which attempts a list shows: the filters that stand in the URL of the page. Called by `attempts` and `deliveries`; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from aegis_stream.api.deliveries import read_filter, read_place
from aegis_stream.control.deliveries import DeliveryQuery
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text
from aegis_stream.errors import Invalid

from .page import problems_of
from .words import DAY_S, HOUR_S

ROWS = 50
ANY = "any"
RESULTS = (("failed", "Failed"), ("delivered", "Delivered"), (ANY, "All"))
ANSWERS = (
    ("", "All"),
    ("2xx", "2xx"),
    ("3xx", "3xx, redirect"),
    ("4xx", "4xx, rejected"),
    ("429", "429, too many"),
    ("5xx", "5xx, server error"),
    ("network", "No answer"),
)
RANGES = (("", "Any time"), ("1h", "Last hour"), ("24h", "Last 24 hours"), ("7d", "Last 7 days"))
_SECONDS = {"1h": HOUR_S, "24h": DAY_S, "7d": 7 * DAY_S}
_NAMES = ("state", "status_class", "error", "event_id", "range", "since", "until")


@dataclass(frozen=True, slots=True)
class AttemptsAsked:
    """What a page was asked to show, as it stands in the URL.

    Args:
        state: "failed", "delivered" or "any".
        range: one of RANGES; `since` takes precedence.
        problems: what is wrong with a field, by its name.
        query: None when something is wrong.
    """

    state: str = ANY
    status_class: str = ""
    error: str = ""
    event_id: str = ""
    range: str = ""
    since: str = ""
    until: str = ""
    cursor: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)
    query: DeliveryQuery | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether anything but the result is chosen."""
        return any(getattr(self, name) for name in _NAMES[1:])

    def link(self, **changes: str) -> str:
        """Return the query of the same page with some filters changed, from its first row on; "?" for none."""
        named = {name: getattr(self, name) for name in _NAMES} | changes
        return "?" + urlencode({name: value for name, value in named.items() if value})

    def at(self, cursor: str) -> str:
        """Return the query of the page that begins at a place of the list."""
        return self.link(cursor=cursor)


def asked_of(query: Mapping[str, str], state: str, now: Micros) -> AttemptsAsked:
    """Read the filters in a URL.

    Args:
        query: the parameters of the URL; unknown ones are left alone.
        state: which results are shown unless the URL says so.
        now: for ranges that end now.
    """
    given: dict[str, Any] = {name: query.get(name, "").strip() for name in (*_NAMES, "cursor")}
    asked = AttemptsAsked(**given | {"state": given["state"] or state})
    since = asked.since or None
    if since is None and asked.range in _SECONDS:
        since = to_text(Micros(now - _SECONDS[asked.range] * SECOND))
    try:
        wanted = read_filter(
            asked.state if asked.state != ANY else None,
            (since, asked.until or None),
            asked.status_class or None,
            asked.error or None,
        )
        place = read_place(asked.cursor or None)
    except Invalid as error:
        return replace(asked, problems=problems_of(error))
    return replace(asked, query=DeliveryQuery(wanted, asked.event_id or None, place, ROWS))
