"""Whether a text repeats a secret in another spelling: encoded, escaped, split, reversed.

Called by `redaction` for what a peer answered to a test. A peer that helps with debugging repeats our request in many
forms, and no list of forms is complete. So this looks for pieces of the secret in every reading of the text, and the caller
shows nothing of a text in which there is one. Pure.
"""

import base64
import binascii
import codecs
import html
import quopri
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from urllib.parse import unquote

PIECE_CHARACTERS_MIN = 8
"""Shortest piece of a secret, letters and digits only, that counts; shorter ones are part of ordinary words."""
_SECRET_CHARACTERS_MIN = 4
"""Shortest secret, letters and digits only, that is searched for as a whole."""
_READINGS_MAX = 128
"""Most readings of one text, and so of what a hostile text can cost."""
_PAIRS_MIN = 16
"""Shortest secret, letters and digits only, whose scattered pairs count."""
_PAIRS_SHARE = 0.7
"""Share of a secret's pairs of neighbours that must be in a text: words have few pairs of a random secret."""
_ROUNDS_MAX = 3
"""Most encodings around each other."""
_BYTES = re.compile(r"(?:[0-9A-Fa-f]{2}[\s:,;_.\-]?|\\x[0-9A-Fa-f]{2}|0x[0-9A-Fa-f]{1,2}[\s,;]*){4,}")
_HEX = re.compile(r"(?:\\x|0x)?([0-9A-Fa-f]{2})")
_NUMBERS = re.compile(r"(?:[0-9]{1,3}[^0-9A-Za-z]{1,8}){3,}[0-9]{1,3}")
_BITS = re.compile(r"(?:[01]{7,8}[^0-9A-Za-z]{0,3}){4,}")
_ESCAPE = re.compile(r"\\(?:u\{?([0-9A-Fa-f]{4,6})\}?|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([0-7]{3}))")
_BASE = re.compile(r"[A-Za-z0-9+/_\-]{8,}")
_BASE32 = re.compile(r"[A-Za-z2-7]{8,}")
_BASE85 = re.compile(r"[0-9A-Za-z!#$%&()*+\-;<=>?@^_`{|}~]{10,}")
_SEPARATORS = re.compile(r"[\s\x00-\x1f\x7f,;:\"'\[\].|-]+")
_MARKS = re.compile(r"[\W_]+")


def repeats(text: str, secrets: Iterable[str], rest: Callable[[], object] | None = None) -> bool:
    """Tell whether some reading of a text has a piece of a secret.

    A piece is eight letters and digits of the secret in a row, whatever else stands between them and in whichever case;
    a shorter secret counts as a whole. Most of a secret's pairs of neighbours count as well, wherever they are.

    Args:
        rest: called after each reading, which takes about a millisecond: a thread lets others run there.
    """
    squeezed = {one for one in map(_squeezed, secrets) if len(one) >= _SECRET_CHARACTERS_MIN}
    pieces = frozenset[str]().union(*map(_pieces, squeezed))
    pairs = [_pairs(one) for one in squeezed if len(one) >= _PAIRS_MIN]
    widths = sorted({len(piece) for piece in pieces})
    for reading in map(_squeezed, _readings(text)) if pieces else ():
        if _has_piece(reading, pieces, widths) or _has_pairs(reading, pairs):
            return True
        if rest is not None:
            rest()
    return False


def _pieces(squeezed: str) -> frozenset[str]:
    width = min(PIECE_CHARACTERS_MIN, len(squeezed))
    forward = {squeezed[at : at + width] for at in range(len(squeezed) - width + 1)}
    return frozenset(forward | {piece[::-1] for piece in forward})


def _pairs(squeezed: str) -> set[str]:
    return set(map("".join, pairwise(squeezed)))


def _has_pairs(text: str, pairs: list[set[str]]) -> bool:
    found = _pairs(text)
    return any(len(wanted & found) >= _PAIRS_SHARE * len(wanted) for wanted in pairs)


def _has_piece(text: str, pieces: frozenset[str], widths: list[int]) -> bool:
    return any(text[at : at + width] in pieces for width in widths for at in range(len(text) - width + 1))


def _squeezed(text: str) -> str:
    """Return letters and digits only, in small letters and in their plainest form."""
    return _MARKS.sub("", unicodedata.normalize("NFKC", text).casefold())


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it is and decoded in every way, up to three encodings deep."""
    seen = {text}
    newest = [text]
    yield text
    for _ in range(_ROUNDS_MAX):
        found: list[str] = []
        for one in newest:
            for decode in _DECODERS:
                for decoded in decode(one):
                    if decoded not in seen:
                        seen.add(decoded)
                        found.append(decoded)
                        yield decoded
                    if len(seen) == _READINGS_MAX:
                        return
        newest = found


def _whole(decode: Callable[[str], str]) -> Callable[[str], Iterator[str]]:
    """Make a decoder of a function for whole texts."""

    def decoded(text: str) -> Iterator[str]:
        try:
            yield decode(text)
        except ValueError:
            return

    return decoded


def _escaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        digits = found[1] or found[2] or found[3]
        number = int(digits, 16) if digits else int(found[4], 8)
        return chr(number) if number <= 0x10FFFF else ""

    return _ESCAPE.sub(character, text.replace("\\/", "/"))


def _quoted_printable(text: str) -> str:
    return quopri.decodestring(text.encode()).decode("latin-1") if "=" in text else text


def _parts(pattern: re.Pattern[str], decode: Callable[[str], bytes]) -> Callable[[str], Iterator[str]]:
    """Make a decoder of a function for the parts of a text that match: all of them together, so that split ones join."""

    def decoded(text: str) -> Iterator[str]:
        found: list[str] = []
        for part in pattern.finditer(text):
            try:
                found.append(_text_of(decode(part[0])))
            except (ValueError, binascii.Error):
                continue
        if found:
            yield "".join(found)

    return decoded


def _text_of(data: bytes) -> str:
    return data.replace(b"\0", b"").decode("latin-1")


def _base64(start: int) -> Callable[[str], bytes]:
    def decode(part: str) -> bytes:
        text = part[start:].translate({ord("-"): "+", ord("_"): "/"})
        return base64.b64decode(
            text[: len(text) // 4 * 4] + text[len(text) // 4 * 4 :].ljust(4, "A") * (len(text) % 4 > 1)
        )

    return decode


def _base32(part: str) -> bytes:
    text = part.upper()
    return base64.b32decode(text[: len(text) // 8 * 8])


def _numbers(base: int) -> Callable[[str], bytes]:
    def decode(part: str) -> bytes:
        codes = [int(code, base) for code in re.findall("[0-9]+", part)]
        return bytes(code for code in codes if code < 256)

    return decode


def _bits(part: str) -> bytes:
    return bytes(int(bits, 2) for bits in re.findall("[01]{7,8}", part))


def _hex(part: str) -> bytes:
    return bytes(int(pair, 16) for pair in _HEX.findall(part))


_DECODERS: tuple[Callable[[str], Iterator[str]], ...] = (
    _whole(lambda text: _SEPARATORS.sub("", unicodedata.normalize("NFKC", text))),
    _whole(_escaped),
    _whole(html.unescape),
    _whole(unquote),
    _whole(_quoted_printable),
    _whole(lambda text: codecs.decode(text, "rot13")),
    _parts(_BYTES, _hex),
    _parts(_NUMBERS, _numbers(10)),
    _parts(_NUMBERS, _numbers(8)),
    _parts(_BITS, _bits),
    *(_parts(_BASE, _base64(start)) for start in range(4)),
    _parts(_BASE32, _base32),
    _parts(_BASE85, base64.b85decode),
    _whole(lambda text: "".join(reversed(text))),
)
