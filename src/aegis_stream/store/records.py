"""A destination ↔ its row: four columns are sealed, the rest of its configuration is plain JSON."""

import msgspec

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.delivery import DestinationKey
from aegis_stream.domain.destination import (
    BatchPolicy,
    Compression,
    Destination,
    DestinationSpec,
    Filter,
    Headers,
)
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.ports import Sealer

from .database import Row
from .sealed_row import open_row, seal_row


class _StoredSpec(msgspec.Struct):
    """The part of a DestinationSpec that is not sealed."""

    name: str
    auth_header_name: str | None
    format: str
    filter: Filter
    batch: BatchPolicy
    retry: RetryPolicy
    ca_certificate: str | None
    compression: Compression


def spec_text(spec: DestinationSpec) -> str:
    """Return the part of a configuration that is not sealed, as JSON."""
    stored = _StoredSpec(
        spec.name,
        spec.auth_header_name,
        spec.format,
        spec.filter,
        spec.batch,
        spec.retry,
        spec.ca_certificate,
        spec.compression,
    )
    return msgspec.json.encode(stored).decode()


def seal_spec(
    spec: DestinationSpec, sealer: Sealer, org_id: str, dst_id: str, key_id: bytes | None
) -> tuple[bytes | None, ...]:
    """Return the sealed columns, in the order of SEALED.

    Args:
        key_id: which master key; None for the newest.
    Raises: Unavailable when that key is not there.
    """
    secrets = (spec.url, spec.auth_header_value, _as_text(spec.headers), _as_text(spec.oauth2))
    return seal_row(sealer, (org_id, dst_id), spec_text(spec), secrets, key_id)


def key_of(destination: Destination) -> DestinationKey:
    """Return the key of a destination's rows."""
    return DestinationKey(destination.organization_no, destination.no)


def open_destination(row: Row, sealer: Sealer | None) -> Destination:
    """Return the destination of a row, opened.

    Args:
        sealer: None to leave all secrets empty.
    Raises: Unavailable when one of its secrets does not open.
    """
    no, dst_id, organization_no, org_id, *sealed, text, paused, revision, created_at, updated_at = row
    stored = msgspec.json.decode(text, type=_StoredSpec)
    if sealer is not None:
        url, auth, headers, oauth2 = open_row(sealer, (org_id, dst_id), text, tuple(sealed))
    else:
        url, auth, headers, oauth2 = ("" if one is not None else None for one in sealed)
    spec = DestinationSpec(
        url=url or "",
        auth_header_name=stored.auth_header_name,
        auth_header_value=auth,
        name=stored.name,
        enabled=not paused,
        format=stored.format,
        filter=stored.filter,
        batch=stored.batch,
        retry=stored.retry,
        ca_certificate=stored.ca_certificate,
        compression=stored.compression,
        headers=_read_headers(headers) if headers is not None else (),
        oauth2=_read_oauth2(oauth2) if oauth2 is not None else None,
    )
    return Destination(no, dst_id, organization_no, org_id, spec, revision, created_at, updated_at)


def _read_headers(text: str) -> Headers:
    return msgspec.json.decode(text, type=Headers) if text else ()


def _read_oauth2(text: str) -> OAuth2 | None:
    return msgspec.json.decode(text, type=OAuth2) if text else None


def _as_text(value: Headers | OAuth2 | None) -> str | None:
    return msgspec.json.encode(value).decode() if value else None
