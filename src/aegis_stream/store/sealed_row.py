"""The sealed columns of a destination's row, and to whom each may go.

Each record is bound to its place (organization, destination, field) and to its audience: what decides to whom the secret is
sent. So nobody who can write the database can have a credential sent elsewhere, by an older URL, another CA certificate or
another header name beside it: the records no longer open.

    url                                  the CA certificate
    auth_header_value, headers, oauth2   scheme, host and port of the URL, the CA certificate, the auth header's name

Records of versions 1 and 2 have no audience. They open as long as all records of the row are such; a change of the
destination and a rotation of the master key seal them anew.
"""

import hashlib

import msgspec

from aegis_stream.ports import Place, Sealer

URL, AUTH_VALUE, HEADERS, OAUTH2 = "url", "auth_header_value", "headers", "oauth2"
SEALED = (URL, AUTH_VALUE, HEADERS, OAUTH2)
"""The sealed fields of a destination, in the order of their columns in every statement."""


class _InTheOpen(msgspec.Struct):
    """What decides about the audience and is not sealed."""

    auth_header_name: str | None
    ca_certificate: str | None


def seal_row(
    sealer: Sealer, ids: tuple[str, str], spec: str, secrets: tuple[str | None, ...], key_id: bytes | None
) -> tuple[bytes | None, ...]:
    """Seal the secrets of a destination.

    Args:
        ids: of organization and destination.
        spec: the column of that name.
        secrets: in the order of SEALED.
        key_id: which master key; None for the newest.
    Raises: Unavailable when that key is not there.
    """
    places = _places(ids, spec, secrets[0] or "")
    return tuple(
        sealer.seal(secret, place, key_id) if secret is not None else None
        for secret, place in zip(secrets, places, strict=True)
    )


def open_row(
    sealer: Sealer, ids: tuple[str, str], spec: str, sealed: tuple[bytes | None, ...]
) -> tuple[str | None, ...]:
    """Return the secrets of a destination, in the order of SEALED. Raises: Unavailable when one of them does not open."""
    url, places, unbound = _opened(sealer, ids, spec, sealed)
    rest = (
        sealer.open(one, place, unbound=unbound) if one is not None else None
        for one, place in zip(sealed[1:], places[1:], strict=True)
    )
    return url, *rest


def rewrap_row(
    sealer: Sealer, ids: tuple[str, str], spec: str, sealed: tuple[bytes | None, ...], key_id: bytes
) -> tuple[bytes | None, ...]:
    """Return the records under another master key, with their audience. Raises: Unavailable when one does not open."""
    _, places, unbound = _opened(sealer, ids, spec, sealed)
    return tuple(
        sealer.rewrap(one, place, key_id, unbound=unbound) if one is not None else None
        for one, place in zip(sealed, places, strict=True)
    )


def _opened(
    sealer: Sealer, ids: tuple[str, str], spec: str, sealed: tuple[bytes | None, ...]
) -> tuple[str, tuple[Place, ...], bool]:
    """Open the URL. Returns: it, the places of all records, and whether records without an audience may be among them."""
    record = sealed[0]
    assert record is not None, "every destination has a URL"
    unbound = not sealer.is_bound(record)
    url = sealer.open(record, _places(ids, spec, "")[0], unbound=unbound)
    return url, _places(ids, spec, url), unbound


def _places(ids: tuple[str, str], spec: str, url: str) -> tuple[Place, ...]:
    known = msgspec.json.decode(spec, type=_InTheOpen)
    # The text up to the path, not what a parser makes of it: a newer parser must not make records unreadable.
    scheme, _, rest = url.partition("://")
    origin = f"{scheme}://{rest.partition('/')[0].partition('?')[0]}".lower()
    credentials = _digest(origin, known.ca_certificate, known.auth_header_name)
    audiences = (_digest(known.ca_certificate), *(credentials,) * (len(SEALED) - 1))
    return tuple(Place(*ids, field, audience) for field, audience in zip(SEALED, audiences, strict=True))


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
