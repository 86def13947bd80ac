"""The time zone in which a page writes times: `?zone=` in its URL, which every link and form of the page keeps."""

import re
from datetime import UTC, tzinfo
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

NAME = "zone"
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,29}(?:/[A-Za-z0-9_+-]{1,30}){0,2}")
"""How the IANA database writes names; nothing else is looked for among its files."""
SHOWN_CHARACTERS_MAX = 64
FIELDS_MAX = 100
"""Most parameters of a URL that are looked at."""
_PLACES = r"/console/(?:o/|operator)"
_LINK = re.compile(rf'(<(?:a|form)\b[^>]*?\s(?:href|action)=")({_PLACES}[^"#]*|\?[^"#]*)')
_NAMED = re.compile(rf"(?:\?|&amp;){NAME}=")
_GET_FORM = re.compile(r'<form\b(?![^>]*\bdata-zone-form)[^>]*\bmethod="get"[^>]*>')


class Zone(NamedTuple):
    """A time zone.

    Args:
        name: as the URL has it; UTC is the default, and stands in no link.
        unknown: a name that was asked for and means nothing here, "" for none: then times are UTC.
    """

    name: str = "UTC"
    info: tzinfo = UTC
    unknown: str = ""

    @property
    def is_default(self) -> bool:
        """Whether links need not name it."""
        return self.name == "UTC"


def zone_in(query: str) -> Zone:
    """Return the zone that the query of a URL names. Total: of a name that is not known, it says so."""
    asked = ""
    try:
        asked = dict(parse_qsl(query, max_num_fields=FIELDS_MAX)).get(NAME, "")
    except ValueError:
        return Zone()
    if asked.upper() in ("", "UTC"):
        return Zone()
    if _ZONE.fullmatch(asked):
        try:
            return Zone(asked, ZoneInfo(asked))
        except (KeyError, ValueError, OSError):  # no such file, another kind of file, a folder
            pass
    return Zone(unknown=asked[:SHOWN_CHARACTERS_MAX])


def kept(href: str, zone: Zone) -> str:
    """Return a path of the console with the zone of the page that leads there; other addresses as they are."""
    path, mark, rest = href.partition("#")
    if zone.is_default or not re.match(_PLACES, path):
        return href
    return f"{path}{'&' if '?' in path else '?'}{urlencode({NAME: zone.name}, safe='/')}{mark}{rest}"


def kept_in_page(text: str, zone: Zone) -> str:
    """Return a page whose links and forms keep its zone; those that name one keep theirs.

    The page is our own, and in it all that others wrote is escaped: no text of theirs looks like a tag.
    """
    if zone.is_default:
        return text
    given = urlencode({NAME: zone.name}, safe="/")
    field = f'<input type="hidden" name="{NAME}" value="{zone.name}">'

    def link(found: re.Match[str]) -> str:
        where = found[2]
        if _NAMED.search(where):
            return found[0]
        return f"{found[1]}{where}{'&amp;' if '?' in where else '?'}{given}"

    return _GET_FORM.sub(lambda found: found[0] + field, _LINK.sub(link, text))


def without_zone(query: str) -> list[tuple[str, str]]:
    """Return the other parameters of a URL, for a form that chooses another zone; none of too many."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return []
    return [(name, value) for name, value in pairs if name != NAME]
