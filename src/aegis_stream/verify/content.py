"""The content digest of an event: what stays the same when a SIEM writes the event anew.

The digest is over the canonical JSON of RFC 8785, with one rule more: an integer beyond 2^53 keeps its digits, since rounding it
would hide a change of the low ones. JSON is read strictly: a name that occurs twice, a number that is not finite and text after
the end make it unreadable, because two programs could read two different events there.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any, Dict, List, Tuple

DIGEST_BYTES = 16
DEPTH_MAX = 64
"""Deepest nesting of objects and arrays that is read."""
NUMBER_CHARACTERS_MAX = 1000
"""Longest number that is read."""


class Unreadable(ValueError):
    """JSON that is not read. Its text says why."""


def loads(text: str) -> Any:
    """Return the value of a JSON text.

    Raises: Unreadable if it is malformed, ambiguous, or too deep.
    """
    try:
        value, end = scan(text, skip_space(text, 0))
    except StopIteration as error:
        raise Unreadable("is not JSON") from error
    if skip_space(text, end) != len(text):
        raise Unreadable("has text after its end")
    return value


def scan(text: str, at: int) -> Tuple[Any, int]:
    """Return the value that begins here, and where it ends.

    Raises: Unreadable if it is malformed, ambiguous, or too deep. StopIteration if nothing begins here.
    """
    try:
        value, end = _scan(text, at)
    except RecursionError as error:
        raise Unreadable(f"is nested more than {DEPTH_MAX} deep") from error
    except json.JSONDecodeError as error:
        raise Unreadable(f"is not JSON: {error.msg} at character {error.pos}") from error
    return value, end


def skip_space(text: str, at: int) -> int:
    """Return where the next character stands that is no JSON space."""
    found = _space(text, at)
    assert found is not None
    return found.end()


def digest(value: Any) -> bytes:
    """Return the content digest of a value that `loads` gave.

    Raises: Unreadable if it has a lone surrogate or is nested too deep.
    """
    return sha256(canonical(value)).digest()[:DIGEST_BYTES]


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of a value.

    Raises: Unreadable if it has a lone surrogate or is nested too deep.
    """
    try:
        return (_encode(value) if _is_plain(value) else _text_of(value)).encode()
    except UnicodeEncodeError as error:
        raise Unreadable("has half of a surrogate pair") from error


def number(value: float) -> str:
    """Return a double as ECMAScript writes it: the shortest digits that give it back.

    Source: ECMA-262, Number::toString.
    """
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(value).partition("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    leading = len(digits) - len(digits.lstrip("0"))
    digits, point = digits.lstrip("0").rstrip("0"), point - leading
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """Put the decimal point behind so many digits, which may be fewer or more than there are."""
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if count > 1 else ""
    return f"{digits[0]}{rest}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _is_plain(value: Any) -> bool:
    """Tell whether Python writes a value as RFC 8785 does: it has no float, and no name whose order could differ.

    Raises: Unreadable if it is nested too deep.
    """
    plain, depth, level = type(value) is not float, 0, [value]
    while level:
        if depth > DEPTH_MAX:
            raise Unreadable(f"is nested more than {DEPTH_MAX} deep")
        inner: List[Any] = []
        for one in level:
            members: Any = one if type(one) is list else ()
            if type(one) is dict:
                members = one.values()
                plain = plain and "".join(one).isascii()
            for member in members:
                kind = type(member)
                if kind is dict or kind is list:
                    inner.append(member)
                elif kind is float:
                    plain = False
        depth, level = depth + 1, inner
    return plain


def _text_of(value: Any) -> str:
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda one: one[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_encode(name)}:{_text_of(one)}" for name, one in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_text_of(one) for one in value]) + "]"
    return number(value) if isinstance(value, float) else _encode(value)


_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")
).encode


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable("has a name twice in one object")
    return members


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Unreadable("has a number beyond the range of doubles")
    return value


def _int(text: str) -> int:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise Unreadable(f"has a number of more than {NUMBER_CHARACTERS_MAX} digits")
    return int(text)


def _constant(text: str) -> Any:
    raise Unreadable(f"has {text}, which is no JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant
)
_scan = _decoder.scan_once  # type: ignore[attr-defined] # written in C; documented by nobody, and the same since Python 2.7
_space = re.compile(r"[ \t\n\r]*").match
