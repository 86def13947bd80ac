"""What may be shown of a destination's answer: nothing of our own secrets, and no address that a name resolved to."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from urllib.parse import unquote

from aegis_stream.domain.attempt import Fault, FaultKind
from aegis_stream.domain.destination import MASK, DestinationSpec
from aegis_stream.pipeline.token_answer import NoToken

from .spellings import repeats

EXCERPT_CHARACTERS_MAX = 500
ECHO_CHARACTERS_MIN = 8
"""Shortest piece of a credential that is removed from an answer; shorter ones are part of ordinary words."""
NOT_SHOWN = "not shown: the answer repeats the credential or the URL in another spelling"
FORBIDDEN = (
    "the host points to a forbidden address: a destination must be public, or in a network that the operator has "
    "allowed (AEGIS_ALLOWED_NETWORKS)"
)

_LONG = re.compile(r"[A-Za-z0-9+/_=%-]{24,}")
_PEER = re.compile(r"\b(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)(?=[\s,;]|$)")


def tell_fault(fault: Fault, message: str, spec: DestinationSpec) -> str:
    """Say why there was no answer, without the addresses that the host's name resolved to."""
    about_token = spec.oauth2 is not None and isinstance(fault, NoToken)
    if fault.kind is FaultKind.FORBIDDEN:
        return f"the token endpoint: {FORBIDDEN}" if about_token else FORBIDDEN
    url = spec.oauth2.token_url if spec.oauth2 is not None and about_token else spec.url
    host = re.split(r"[/?]", url.partition("://")[2])[0].rpartition("@")[2]
    return _PEER.sub(lambda found: found[0] if found[0] in host else "the host", message)


def redact(
    text: str,
    spec: DestinationSpec,
    bearers: Sequence[str] = (),
    characters_max: int = EXCERPT_CHARACTERS_MAX * 2,
    rest: Callable[[], object] | None = None,
) -> str:
    """Take our own secrets out of what a peer answered, before anybody sees it: the values of headers, and the URL's tail.

    Of a value every piece goes that is long enough to be of use, in capitals or not: peers like to repeat the
    beginning of a token. Nothing is shown of an answer that repeats a secret in another spelling, such as base64.

    Args:
        bearers: the tokens that were sent.
        characters_max: how much of the text is looked at.
        rest: called after each step of about a millisecond, if given.
    Returns: printable text, a little longer than what is shown of it.
    """
    text = text[:characters_max]
    values = _header_values(spec, bearers)
    hidden = [False] * len(text)
    # All places are found before any is hidden: what is left of one secret must not be too short to be found as another's.
    for start, end in _places_of_secrets(text, spec.url, values):
        hidden[start:end] = [True] * (end - start)
    parts = groupby(zip(text, hidden, strict=True), key=itemgetter(1))
    shown = "".join(MASK if is_hidden else "".join(one for one, _ in part) for is_hidden, part in parts)
    if repeats(shown, [*values, *_url_secrets(spec.url)], rest):
        return NOT_SHOWN
    shown = _LONG.sub(lambda found: MASK if _is_random(found[0]) else found[0], shown)
    return "".join(character if character.isprintable() or character == "\n" else " " for character in shown)


def _header_values(spec: DestinationSpec, bearers: Sequence[str]) -> list[str]:
    client_secret = spec.oauth2.client_secret if spec.oauth2 is not None else ""
    values = (spec.auth_header_value or "", *(value for _, value in spec.headers), client_secret, *bearers)
    return [one for value in values for one in _header_secrets(value)]


def _places_of_secrets(text: str, url: str, values: Sequence[str]) -> Iterator[tuple[int, int]]:
    secrets = [_folded(one) for one in values]
    short = [one for one in secrets if 4 <= len(one) < ECHO_CHARACTERS_MIN]
    folded = _folded(text)
    for secret in (*_url_secrets(url), *short):
        yield from (found.span() for found in re.finditer(re.escape(_folded(secret)), folded))
    width = ECHO_CHARACTERS_MIN
    pieces = {secret[at : at + width] for secret in secrets for at in range(len(secret) - width + 1)}
    for place in range(len(text) - width + 1):
        if folded[place : place + width] in pieces:
            yield place, place + width


def _is_random(text: str) -> bool:
    """Tell whether a text has capitals, small letters and digits: it may be a secret in a spelling that nobody knows."""
    return any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text))


def _folded(text: str) -> str:
    """Return a text of the same length in small letters, as far as these are single ones."""
    return "".join(small if len(small := one.lower()) == 1 else one for one in text)


def _url_secrets(url: str) -> set[str]:
    _, _, tail = url.partition("://")[2].partition("/")
    parts = re.split(r"[/?&=;]", tail)
    return {one for one in (tail, *parts, *(unquote(part) for part in parts)) if len(one) >= 6}


def _header_secrets(value: str) -> list[str]:
    """Return the credential, and of Basic authentication user and password as well."""
    scheme, _, rest = value.partition(" ")
    secrets = [value]
    if scheme.lower() == "basic":
        try:
            secrets.append(base64.b64decode(rest, validate=True).decode("utf-8", "replace"))
        except (binascii.Error, ValueError):
            return secrets
        secrets.append(secrets[-1].partition(":")[2])
    return secrets
