"""Values that the free text of a preflight event must not contain: card and account numbers, social security numbers, keys.

Preflight events promise counts of findings, never the values found. `find` looks for values with a fixed shape and, if the
kind has one, a checksum, so that ordinary numbers and identifiers pass. It is no data loss prevention: a name or a password
passes. It is called for every preflight event, so an ordinary text costs next to nothing, and no text costs more than a few
milliseconds.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

TEXT_CHARACTERS_MAX: Final = 4096
"""Longest text that is searched and so accepted; a summary is far shorter."""
NORMAL_CHARACTERS_MAX: Final = 2 * TEXT_CHARACTERS_MAX
"""Longest text without compatibility characters that is searched: ordinary texts hardly grow when these are replaced."""

CARD = "a card number"
SSN = "a social security number"
IBAN = "an IBAN"
SECRET = "a secret key"  # noqa: S105 - the name of a kind
PRIVATE_KEY = "a private key"
TOO_LONG = f"more than {TEXT_CHARACTERS_MAX} characters"
DIGITS_MAX: Final = 256
"""Most digits of a text, such as fifty numbers of five: every number costs time, and a summary counts instead of listing."""
TOO_MANY_DIGITS = f"more than {DIGITS_MAX} digits"

DIGITS_MIN: Final = 9
"""Fewest digits of any number that is searched for: those of a social security number."""
ENTROPY_MIN = 3.5
"""Bits a character of a token without a known prefix must have: words have 2 to 3, random letters and digits 4 and more."""

_digits: Final = re.compile("[0-9]").findall
_has_digit: Final = re.compile("[0-9]").search
_LONG_WORD_MIN: Final = 16
"""Characters of the shortest secret or private key."""
_has_long_word: Final = re.compile("[^ ]{16}").search
_LONG_WORD = re.compile("[^ ]{16,}")
_INVISIBLE = dict.fromkeys((0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))
_RUN = re.compile(r"[0-9](?:[ \-./_]{0,2}[0-9])*")
_GROUP = re.compile("[0-9]+")
_GROUPS_MAX = 5
"""Most groups of digits in a card number: four groups of four, and the rest of nineteen digits."""
_SSN = re.compile(
    r"(?<![0-9\-])(?!000|666|9)[0-9]{3}([ \-.])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9\-])"
    r"|(?i:ssn|social security)[^0-9\n]{0,20}(?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)[0-9]{4}(?![0-9])"
)
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}")
_IBAN = re.compile(r"[A-Za-z0-9](?:[ \-]?[A-Za-z0-9]){14,33}")
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY")
_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{22}|glpat-[A-Za-z0-9_\-]{20}"
    r"|xox[abeoprs]-[A-Za-z0-9\-]{10}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10}|sk-[A-Za-z0-9_\-]{20}"
    r"|AIza[A-Za-z0-9_\-]{30}|ya29\.[A-Za-z0-9_\-]{20}"
    r"|SG\.[A-Za-z0-9_\-]{16}|npm_[A-Za-z0-9]{30}|pypi-[A-Za-z0-9_\-]{20}|hf_[A-Za-z0-9]{30}|dop_v1_[0-9a-f]{30}"
    r"|aegis_(?:sk|op)_[A-Za-z0-9_\-]{15}"
    r"|eyJ[A-Za-z0-9_\-]{10,200}\.eyJ[A-Za-z0-9_\-]{10}"
    r")"
)
_TOKEN = re.compile("[A-Za-z0-9+/]{24,}")
_PREFIX = re.compile(r"(?:[A-Za-z][A-Za-z0-9]*[_\-.:=]|[Bb]earer )$")

# Source: the IBAN registry of ISO 13616, country and length.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def find(text: str) -> str | None:
    """Return the kind of value that the text must not contain ("a card number"), or None.

    The value itself is not returned, so no message can repeat it. Total.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        return TOO_LONG
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_INVISIBLE)
        # One character may stand for eighteen. A part that is not searched could hide a value.
        if len(text) > NORMAL_CHARACTERS_MAX:
            return TOO_LONG
    if len(text) < _LONG_WORD_MIN:
        return _find_number(text) if len(_digits(text)) >= DIGITS_MIN else None
    if "-----BEGIN" in text and _PRIVATE_KEY.search(text):
        return PRIVATE_KEY
    if _has_digit(text) is None:
        return None
    if _has_long_word(text) is not None and _has_secret(text):
        return SECRET
    count = len(_digits(text))
    if count > DIGITS_MAX:
        return TOO_MANY_DIGITS
    return _find_number(text) if count >= DIGITS_MIN else None


def _find_number(text: str) -> str | None:
    if any(_is_iban(text, found.start()) for found in _IBAN_START.finditer(text)):
        return IBAN
    if any(_is_card(digits) for run in _RUN.finditer(text) for digits in _windows(run[0])):
        return CARD
    return SSN if _SSN.search(text) else None


def _windows(run: str) -> Iterator[str]:
    """Yield possible card numbers: neighbouring groups of a run of digits, 13 to 19 digits together."""
    groups = _GROUP.findall(run)
    ends = [0, *accumulate(map(len, groups))]
    digits = "".join(groups)
    for first, begin in enumerate(ends[:-1]):
        for end in ends[first + 1 : first + 1 + _GROUPS_MAX]:
            if 13 <= end - begin <= 19:
                yield digits[begin:end]


def _is_card(digits: str) -> bool:
    # Source: ISO/IEC 7812: networks' first digits are 3 to 6, and 2221 to 2720; times in microseconds begin with 1.
    if digits[0] not in "3456" and not 2221 <= int(digits[:4]) <= 2720:
        return False
    if len(set(digits)) == 1:
        return False
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(one // 10 + one % 10 for one in doubled)) % 10 == 0


def _is_iban(text: str, start: int) -> bool:
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
    found = _IBAN.match(text, start)
    if length is None or found is None:
        return False
    compact = re.sub("[ -]", "", found[0])
    if len(compact) < length:
        return False
    whole = compact[4:length] + compact[:4]
    return int("".join(str(int(one, 36)) for one in whole)) % 97 == 1


def _has_secret(text: str) -> bool:
    return any(_SECRET.search(word[0]) for word in _LONG_WORD.finditer(text)) or any(
        _is_random(found[0]) and _PREFIX.search(text, max(0, found.start() - 20), found.start())
        for found in _TOKEN.finditer(text)
    )


def _is_random(token: str) -> bool:
    """Tell whether a token looks random: capitals, small letters, digits, and enough entropy. Our identifiers have no capitals."""
    if not (any(map(str.isupper, token)) and any(map(str.islower, token)) and any(map(str.isdigit, token))):
        return False
    size = len(token)
    return -sum(count / size * math.log2(count / size) for count in Counter(token).values()) >= ENTROPY_MIN
