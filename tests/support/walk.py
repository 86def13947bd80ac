"""Every page of the console, from its table of rights: a page that is added is walked through, or the walk says what it lacks.

for path in pages():
    await visitor.get(filled(path, objects))
"""

import re
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser

from aegis_stream.console.rights import NEEDS, Need

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
"""A name that people may give: printable."""
HIDDEN = "\u202e\x1b[31m\u2066\x07"
"""Bidirectional and control characters, which only events and answers can have."""
_HREF = re.compile(r"[/?#]|$")


def pages(*needs: Need) -> list[str]:
    """Return the paths of all pages, as the table writes them; `needs` are those that are wanted, all by default."""
    return [
        path for (method, path), need in NEEDS.items() if method == "GET" and (not needs or need in needs)
    ]


def calls(method: str, *needs: Need) -> list[str]:
    """Return the paths of all calls with a method."""
    return [path for (one, path), need in NEEDS.items() if one == method and need in needs]


def filled(path: str, objects: Mapping[str, str]) -> str:
    """Return a path with its parameters filled. A parameter that `objects` lacks fails: say there what stands for it."""
    for name in re.findall(r"\{([a-z_]+)\}", path):
        assert name in objects, f"{path} has a new parameter: add {name} to the objects of the walk"
        path = path.replace(f"{{{name}}}", objects[name])
    return path


class _Reader(HTMLParser):
    """Notes what a page may not have."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_script = tag == "script"
        given = {name: value or "" for name, value in attrs}
        if tag in ("img", "iframe", "object", "embed", "base", "style"):
            self.faults.append(f"<{tag}>")
        if tag == "script" and not given.get("src", "").startswith("/console/static/"):
            self.faults.append(f"a script that is not ours: {given}")
        self.faults += [f"{name} of <{tag}>" for name in given if name.startswith("on") or name == "style"]
        self.faults += [
            f"{name}={given[name]!r}"
            for name in ("href", "action", "formaction")
            if name in given and not _HREF.match(given[name])
        ]

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False

    def handle_data(self, data: str) -> None:
        if self.in_script and data.strip():
            self.faults.append(f"script in the page: {data[:80]!r}")


def faults_in(page: str) -> list[str]:
    """Return what a page of ours may not have: scripts in it, handlers, styles, pictures, foreign links, hidden characters."""
    reader = _Reader()
    reader.feed(page)
    hidden = {one for one in HIDDEN if not one.isprintable()}
    return reader.faults + [f"a hidden character {one!r}" for one in sorted(hidden & set(page))]


def missing(paths: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Return the ends of paths that none of the paths has."""
    there = list(paths)
    return [end for end in wanted if not any(one.endswith(end) for one in there)]
