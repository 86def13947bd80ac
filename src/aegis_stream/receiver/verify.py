"""Verifies the sender of a request: compares the expected secrets in constant time.

Used by the WSGI and ASGI adapters, the reference receiver, and your own applications. It knows no web framework, reads
no environment and prints nothing: a verdict is a value.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

SIGNATURE_HEADER = "X-Aegis-Signature"
"""Header of the optional HMAC-SHA256 signature of the raw body."""

_SIGNATURE_PREFIX = "sha256="
# The values that a destination's auth header can have: visible ASCII and inner spaces. Another secret would never match.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
# Source: token, RFC 9110 section 5.6.2.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request has every expected secret. True in a condition."""

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True, slots=True)
class Refused:
    """The request lacks an expected secret: answer 401. False in a condition.

    Args:
        reason: one clause for a person, with names of headers only, never with their values.
    """

    reason: str

    def __bool__(self) -> Literal[False]:
        return False


Verdict = Accepted | Refused


class Headers(Protocol):
    """The headers of a request: a dict, or the class of Flask, Django, Starlette and others."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return names, in any case, and values; a name may occur more than once."""


def sign(body: bytes, key: bytes) -> str:
    """Return the value of X-Aegis-Signature for a raw body: "sha256=" and 64 lower-case hex digits."""
    return _SIGNATURE_PREFIX + hmac.new(key, body, hashlib.sha256).hexdigest()


class Verifier:
    """Checks that a request has the secrets that you share with the destination's configuration.

    Every given secret is required. To rotate one, use two verifiers: `old.verify(…) or new.verify(…)`.

    Args:
        bearer: the token without its scheme, as in `Authorization: Bearer <token>`; visible ASCII without spaces.
        header: name and value of another auth header, as in ("X-Shared-Secret", "…").
        hmac_key: key of the signature of the raw body in X-Aegis-Signature.
        accept_all: accept every request, instead of any secret: for demonstrations on this machine.
    Raises: ValueError when there is no secret and no `accept_all`, or a secret is empty or not valid in a header: a
        forgotten environment variable must stop the start, and not accept everybody.
    """

    __slots__ = ("_expected", "_hmac_key")

    def __init__(
        self,
        *,
        bearer: str | None = None,
        header: tuple[str, str] | None = None,
        hmac_key: bytes | None = None,
        accept_all: bool = False,
    ) -> None:
        if accept_all != (bearer is None and header is None and hmac_key is None):
            raise ValueError("a verifier needs a bearer token, a header or an HMAC key; or accept_all alone")
        if hmac_key is not None and not hmac_key:
            raise ValueError("the HMAC key is empty")
        # Lower-case header name → SHA-256 of the whole value it must have.
        self._expected: list[tuple[str, bytes]] = []
        if bearer is not None:
            if not _HEADER_VALUE.fullmatch(bearer) or " " in bearer:
                raise ValueError("the bearer token must be visible ASCII, without spaces and the word Bearer")
            self._expected.append(("authorization", _digest(f"Bearer {bearer}")))
        if header is not None:
            name, value = header
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError("the header needs a name that is an HTTP token and a value of visible ASCII")
            self._expected.append((name.lower(), _digest(_normal(name.lower(), value))))
        self._hmac_key = hmac_key

    def verify(self, headers: Headers, body: bytes) -> Verdict:
        """Decide whether a request has every expected secret.

        Args:
            headers: names in any case. A repeated header (in a multi-dict, or joined by a comma) never matches.
            body: the raw bytes of the body, before any decompression or parsing.
        Returns: Accepted or Refused; raises nothing. The time it takes does not tell where a wrong secret differs, nor
            how long it is: each check is `hmac.compare_digest` of two SHA-256 digests, and no check is skipped when an
            earlier one fails.
        """
        wrong: list[str] = []
        for name, expected in self._expected:
            value = _value(headers, name)
            if not hmac.compare_digest(_digest(_normal(name, value or "")), expected):
                wrong.append(f"{name} {'is missing' if value is None else 'does not match'}")
        if self._hmac_key is not None:
            name = SIGNATURE_HEADER.lower()
            value = _value(headers, name)
            signature = _SIGNATURE_PREFIX + (value or "").strip().lower().removeprefix(_SIGNATURE_PREFIX)
            if not hmac.compare_digest(_digest(signature), _digest(sign(body, self._hmac_key))):
                wrong.append(f"{name} {'is missing' if value is None else 'does not match'}")
        return Refused("; ".join(wrong)) if wrong else Accepted()


def _digest(value: str) -> bytes:
    # A digest has a fixed length; compare_digest reveals the length of its arguments. surrogatepass: servers decode differently.
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def _normal(name: str, value: str) -> str:
    # The scheme of Authorization is case-insensitive and may be followed by several spaces (RFC 9110 section 11.4).
    scheme, space, credentials = value.strip().partition(" ")
    if name == "authorization" and space and scheme.lower() == "bearer":
        return f"Bearer {credentials.lstrip(' ')}"
    return value.strip()


def _value(headers: Headers, name: str) -> str | None:
    values = [value for key, value in headers.items() if key.lower() == name]
    return ", ".join(values) if values else None
