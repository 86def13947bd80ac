"""Style and scripts: read once, sent from a folder whose name changes with their content, so that browsers keep them."""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from litestar import Response, get
from litestar.params import FromPath

from aegis_stream.errors import NotFound

FOLDER = Path(__file__).with_name("static")
_MEDIA = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """One file as it is sent."""

    body: bytes
    media: str


@cache
def assets() -> dict[str, Asset]:
    """Return all files by name."""
    return {
        path.name: Asset(path.read_bytes(), _MEDIA[path.suffix])
        for path in sorted(FOLDER.iterdir())
        if path.suffix in _MEDIA
    }


@cache
def version() -> str:
    """Return what changes when any of the files does: modules import each other by name."""
    digest = hashlib.sha256()
    for name, one in assets().items():
        digest.update(name.encode() + one.body)
    return digest.hexdigest()[:12]


def url_of(name: str) -> str:
    """Return where a file is. Raises: KeyError for an unknown one."""
    assert name in assets(), name
    return f"/console/static/{version()}/{name}"


@get("/console/static/{edition:str}/{name:str}", sync_to_thread=False)
def static(edition: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Send a file. An older page may ask for another edition: it gets today's, which nobody keeps under that name."""
    found = assets().get(name)
    if found is None:
        raise NotFound(f"the console has no file {name[:80]!r}")
    kept = _FOREVER if edition == version() else "no-store"
    return Response(found.body, media_type=found.media, headers={"cache-control": kept})


HANDLERS = [static]
