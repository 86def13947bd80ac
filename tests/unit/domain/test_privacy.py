"""Promises of the privacy check: what it finds, what it lets pass, and that it takes no time.

Whatever looks like a secret here is put together at run time, and opens nothing.
"""

import base64
import hashlib
import random
import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis_stream.domain.privacy import (
    CARD,
    DIGITS_MAX,
    IBAN,
    NORMAL_CHARACTERS_MAX,
    PRIVATE_KEY,
    SECRET,
    SSN,
    TEXT_CHARACTERS_MAX,
    TOO_LONG,
    TOO_MANY_DIGITS,
    find,
)
from aegis_stream.domain.private_text import IDENTIFIER, NUMBERED_ID, private_kind

RANDOM = (
    base64.b64encode(hashlib.sha512(b"synthetic").digest())
    .decode()
    .translate({ord(one): "x" for one in "+/="})
)


def luhn(digits: str) -> str:
    """Add the digit that makes a card number of digits."""
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def make_iban(country: str, bban: str) -> str:
    """Put country and check digits before an account."""
    number = int("".join(str(int(one, 36)) for one in bban + country + "00"))
    return f"{country}{98 - number % 97:02d}{bban}"


def grouped(text: str, size: int, separator: str) -> str:
    """Cut a text into groups."""
    return separator.join(text[at : at + size] for at in range(0, len(text), size))


CARDS = {
    "visa": luhn("411111111111111"),
    "visa, 13 digits": luhn("422222222222"),
    "mastercard": luhn("555555555555444"),
    "mastercard, new": luhn("222300000000000"),
    "amex": luhn("37828224631000"),
    "discover": luhn("601111111111111"),
    "jcb": luhn("353011133330000"),
    "diners": luhn("3852000002323"),
    "19 digits": luhn("622126000000000000"),
}
IBANS = {
    "DE": make_iban("DE", "370400440532013000"),
    "GB": make_iban("GB", "WEST12345698765432"),
    "NO": make_iban("NO", "86011117947"),
    "FR": make_iban("FR", "20041010050500013M02606"),
    "MT": make_iban("MT", "MALT011000012345MTLCAST001S"),
}
SECRETS = {
    "AWS": "AKIA" + RANDOM[:16].upper(),
    "GitHub": "ghp" + "_" + RANDOM[:36],
    "GitHub, new": "github" + "_pat_" + RANDOM[:40],
    "GitLab": "glpat" + "-" + RANDOM[:20],
    "Slack": "xoxb" + "-" + "1234567890-" + RANDOM[:12],
    "Stripe": "sk" + "_live_" + RANDOM[:24],
    "OpenAI": "sk" + "-" + RANDOM[:40],
    "Google": "AIza" + RANDOM[:35],
    "SendGrid": "SG." + RANDOM[:22] + "." + RANDOM[:43],
    "npm": "npm" + "_" + RANDOM[:36],
    "ours": "aegis" + "_sk_" + RANDOM[:43],
    "operator": "aegis" + "_op_" + RANDOM[:43],
    "JWT": "eyJ" + RANDOM[:30] + ".eyJ" + RANDOM[30:60] + "." + RANDOM[:20],
    "bearer": "Bearer " + RANDOM[:32],
    "assignment": "password=" + RANDOM[:32],
    "unknown prefix": "acme_prod_" + RANDOM[:32],
}
ORDINARY = [
    "",
    "Detected SSN; masked.",
    "No findings.",
    "Detected 2 SSN and 1 EMAIL; masked.",
    "Blocked: 3 credit card numbers in prompt for vendor upload, policy v1.0",
    "policy pol_01ksr492006zr14463e1x90ggf, event pflt_01ksr492006zr14463e1x90ggf",
    "request 550e8400-e29b-41d4-a716-446655440000 at 2026-05-15T10:33:21.456789+00:00",
    "commit 3b9c9c4fc5f9c0ffee00c0ffee00c0ffee00c0ff",
    "at 1780000000000000 microseconds, 1780000000000 milliseconds, 4096 bytes, port 8088",
    "call +1 202 555 0143 or 202-555-0143, ext. 12",
    "from 192.168.100.200 and 2001:db8:85a3::8a2e:370:7334",
    "order 4111111111111112, invoice 4444444444444444, item 000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567",
    "123-45-6789-0, 0-123-45-6789, 1234-45-6789",
    "DE00 3704 0044 0532 0130 00 is no account, XX89 3704 0044 0532 0130 00 is none either",
    "3.141592653589793238462643383279502884197169399375105820974944592307816406286",
    "-----BEGIN CERTIFICATE----- and -----BEGIN PUBLIC KEY-----",
    "a sentence about tokens, secrets, passwords and keys without any of them",
    "see https://example.com/path/to/a/very-long-page-name-with-words-2026",
    "SSN of 3 people, social security of 12",
]


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("separator", ["", " ", "-", ".", "\u00a0", "  "])
@pytest.mark.parametrize("frame", ["{}", "card {}.", "({}, exp. 12/29)", "12 {} 34", "{} 34 56"])
def test_finds_a_card_number(number, separator, frame):
    """A card number of any network is found, in one piece or in groups of four, with other numbers beside it."""
    assert find(frame.format(grouped(number, 4, separator))) == CARD


@pytest.mark.parametrize(
    ("first", "found"), [("2220", None), ("2221", CARD), ("2720", CARD), ("2721", None), ("7999", None)]
)
def test_the_range_of_a_network_has_edges(first, found):
    """Numbers just outside the range of a network are no card numbers, whatever their check digit."""
    assert find(luhn(first + "00000000012")) == found


def test_a_card_number_has_at_most_five_groups():
    """Digits in more groups than any card number is written in are other numbers."""
    number = CARDS["visa"]

    assert find(" ".join([number[:4], number[4:8], number[8:12], number[12:14], number[14:]])) == CARD
    assert find(" ".join([number[:4], number[4:8], number[8:12], number[12:14], *number[14:]])) is None


def test_finds_amex_in_its_own_groups():
    """A card number in groups of four, six and five digits is found."""
    number = CARDS["amex"]

    assert find(f"{number[:4]} {number[4:10]} {number[10:]}") == CARD


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS)
def test_a_wrong_check_digit_is_no_card(number):
    """Of ten numbers that differ only in the last digit exactly one is a card number."""
    found = [find(f"number {number[:-1]}{digit}") for digit in string.digits]

    assert found.count(CARD) == 1


@pytest.mark.parametrize("digits, found", [(12, None), (13, CARD), (19, CARD), (20, None)])
def test_a_card_has_13_to_19_digits(digits, found):
    """Numbers shorter or longer than a card number pass, whatever their check digit."""
    assert find(luhn("4" + "12345678901234567890"[: digits - 2])) == found


@pytest.mark.parametrize(
    "text",
    [
        "ssn 123-45-6789",
        "123 45 6789",
        "(123.45.6789)",
        "SSN:123456789",
        "Social security no. 123456789 was masked",
        "\uff11\uff12\uff13-\uff14\uff15-\uff16\uff17\uff18\uff19",
        "123-45-\u200b6789",
    ],
)
def test_finds_a_social_security_number(text):
    """A social security number is found with its separators, and without them beside its name; in other digits as well."""
    assert find(text) == SSN


@pytest.mark.parametrize("iban", IBANS.values(), ids=IBANS)
@pytest.mark.parametrize(
    "write", [str, str.lower, lambda one: grouped(one, 4, " "), lambda one: grouped(one, 4, "-")]
)
@pytest.mark.parametrize("frame", ["{}", "to {} today", "AB12 {}", "account:{};"])
def test_finds_an_iban(iban, write, frame):
    """An IBAN is found in groups or not, in small letters or capitals, with words around it."""
    assert find(frame.format(write(iban))) == IBAN


@pytest.mark.parametrize("iban", IBANS.values(), ids=IBANS)
def test_a_wrong_check_sum_is_no_iban(iban):
    """Exactly one pair of check digits is valid."""
    found = [find(f"{iban[:2]}{check:02d}{iban[4:]}") for check in range(2, 99)]

    assert found.count(IBAN) == 1


@pytest.mark.parametrize(
    "account",
    [
        pytest.param(make_iban("XX", "370400440532013000"), id="a country without IBANs"),
        pytest.param(make_iban("DE", "3704004405320130"), id="two characters too few"),
        pytest.param(make_iban("DE", "SIXTEENWORDSHERE18"), id="fewer digits than any number"),
        pytest.param(make_iban("NO", "ELEVENWORDS"), id="the same in a short text"),
    ],
)
def test_what_is_written_like_an_iban_is_not_always_one(account):
    """Right check digits alone make no IBAN: country, length and digits count as well."""
    assert find(account) is None


@pytest.mark.parametrize(
    ("token", "found"),
    [
        pytest.param("Aa1" * 10, None, id="three characters"),
        pytest.param("ABcd" * 4 + "EFgh1234" * 2, SECRET, id="just enough"),
        pytest.param("ABcd" * 5 + "EFgh1234" * 2, None, id="hardly less"),
    ],
)
def test_a_token_without_much_chance_in_it_is_no_key(token, found):
    """A token whose characters repeat is none that somebody keeps secret."""
    assert find(f"key={token}") == found


def test_finds_a_secret_key_in_the_shortest_text():
    """A text that is nothing but a short key is searched."""
    assert find("xoxb" + "-12345678901") == SECRET


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("frame", ["{}", "found {} in prompt", "key='{}'", "({})"])
def test_finds_a_secret_key(secret, frame):
    """Keys are found by their vendors' prefixes, and random tokens by a name before them."""
    assert find(frame.format(secret)) == SECRET


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_finds_a_private_key(kind):
    """The first line of a private key is enough to be found."""
    assert find(f"prompt had -----BEGIN {kind}PRIVATE" + " KEY-----") == PRIVATE_KEY


@pytest.mark.parametrize("text", ORDINARY)
def test_lets_ordinary_text_pass(text):
    """Words, counts, identifiers, times, addresses and phone numbers are not findings."""
    assert find(text) is None


def test_identifiers_pass_one_and_all():
    """The service's own identifiers are never reported as a finding."""
    dice = random.Random(7)
    letters = "0123456789abcdefghjkmnpqrstvwxyz"

    for prefix in ("pflt", "pol", "dst", "key"):
        for _ in range(500):
            assert find(f"see {prefix}_{''.join(dice.choices(letters, k=26))}") is None


@pytest.mark.parametrize("size, found", [(TEXT_CHARACTERS_MAX, None), (TEXT_CHARACTERS_MAX + 1, TOO_LONG)])
def test_a_text_that_is_too_long_is_refused(size, found):
    """A text that is too long to be searched is rejected."""
    assert find("x" * size) == found


def test_a_text_whose_characters_stand_for_many_is_searched_whole_or_refused():
    """No value hides behind characters that stand for many: what would not be searched is rejected."""
    sign = "\ufdfa"  # stands for eighteen characters
    signs = sign * (NORMAL_CHARACTERS_MAX // 18)
    left = NORMAL_CHARACTERS_MAX % 18

    assert find(signs[1:] + CARDS["visa"]) == CARD
    assert find(signs + "x" * left) is None
    assert find(signs + "x" * (left + 1)) == TOO_LONG
    assert find(signs + sign + CARDS["visa"]) == TOO_LONG


@pytest.mark.parametrize("count, found", [(DIGITS_MAX, None), (DIGITS_MAX + 1, TOO_MANY_DIGITS)])
def test_a_text_with_too_many_digits_is_refused(count, found):
    """A text with very many numbers is rejected without searching it."""
    assert find("1, " * count) == found


@given(st.text(max_size=300))
@example("\ufdfa" * TEXT_CHARACTERS_MAX)
def test_is_total(text):
    """Every text gets a result, and no exception."""
    assert find(text) in (None, CARD, SSN, IBAN, SECRET, PRIVATE_KEY, TOO_MANY_DIGITS, TOO_LONG)


@given(st.text(st.characters(codec="ascii", exclude_characters=string.digits + "-"), max_size=300))
def test_text_without_digits_passes(text):
    """A text without digits and without a line of hyphens has no findings."""
    assert find(text) is None


@given(
    st.sampled_from([*CARDS.values(), *IBANS.values(), *SECRETS.values()]),
    st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Zs"]), max_size=60),
    st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Zs"]), max_size=60),
)
def test_finds_values_among_words(value, before, after):
    """A finding is found between any words, and its value is not repeated."""
    found = find(f"{before} , {value} , {after}")

    assert found is not None
    assert value not in found


@pytest.mark.parametrize(
    "piece",
    [
        "1 ",
        "1",
        "a1 ",
        "DE12 ",
        "ab_",
        "eyJ-",
        "1-",
        "4444 ",
        "4440 ",
        "ssn 0",
        "Ab1",
        "Bearer ",
        "-----BEGIN A ",
    ],
)
def test_no_text_takes_long(piece):
    """Texts that are made to slow the search down are searched a hundred times quickly."""
    whole = (piece * TEXT_CHARACTERS_MAX)[: TEXT_CHARACTERS_MAX - 1] + "1"

    assert {find(whole) for _ in range(100)} <= {None, SSN, SECRET, TOO_MANY_DIGITS}


@settings(max_examples=500)
@example("A_ABa70000111122334455")
@given(st.from_regex(re.compile(NUMBERED_ID, re.ASCII), fullmatch=True))
def test_nothing_can_be_found_in_a_numbered_id(text):
    """Ids that are exempt because they are numbered are not exempt from anything: no search would find a value in them."""
    assert find(text) is None


PLAIN_IDENTIFIER = (
    r"(?:[a-z]{1,16}_)?[0-9a-hjkmnp-tv-z]{26}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?:[a-z]{1,16}[_\-])?[0-9a-f]{20,64}"
    r"|[a-z]{1,8}_(?:[a-z]?[01789][0-9]{9,23}|[a-z]{3}[01789][0-9]{9,19})"
)


def near_identifiers():
    """Yield texts that are identifiers, and texts that are none by one character or by their length."""
    letters = string.ascii_letters + string.digits + "_-.\n\u017f\u212a\u0663"
    heads = [
        "",
        "_",
        "a",
        "abc",
        "abcd",
        "a_",
        "A-",
        "abcdefgh_",
        "abcdefghi_",
        "a" * 16 + "_",
        "a" * 17 + "-",
        "a_b_",
    ]
    heads += ["evt_a", "evt_AB", "evt_abc", "evt_abcd", "evt_Z0"]
    for head in heads:
        for size in (*range(8, 28), 32, 63, 64, 65):
            yield from (head + letter * size for letter in letters)
            yield from (head + letter + "0" * size for letter in letters)
            yield from (head + "0" * size + letter for letter in letters)
    uuid = "01234567-89ab-CDEF-0123-456789abcdef"
    for at in range(len(uuid)):
        yield from (uuid[:at] + letter + uuid[at + 1 :] for letter in letters)
        yield uuid[:at] + uuid[at + 1 :]


def test_the_fast_pattern_of_identifiers_accepts_what_the_plain_one_does():
    """Letters of both cases and repeats without backtracking are written for speed: they accept not one text more or less."""
    fast = re.compile(IDENTIFIER, re.ASCII).fullmatch
    plain = re.compile(PLAIN_IDENTIFIER, re.ASCII | re.IGNORECASE).fullmatch

    texts = list(near_identifiers())

    assert [text for text in texts if (fast(text) is None) != (plain(text) is None)] == []
    assert sum(plain(text) is not None for text in texts) > 1000


@pytest.mark.parametrize("prefix", ["", "pflt_", "req-"])
@pytest.mark.parametrize("size", [20, 24, 32, 40, 64])
def test_hexadecimal_ids_are_never_taken_for_a_value(prefix, size):
    """No id of random bytes is rejected because its digits look like a card number by chance; once in a thousand they do."""
    chance = random.Random(size)
    ids = [prefix + chance.randbytes(size // 2).hex() for _ in range(3000)]

    assert [one for one in ids if private_kind(one) is not None] == []


@pytest.mark.parametrize("text", ["4111111111111111", "pflt_4111111111111111", "req-4111111111111111"])
def test_a_card_number_in_place_of_an_id_is_found(text):
    """Digits that are as long as a card number are searched, whatever they are called."""
    assert private_kind(text) == CARD
