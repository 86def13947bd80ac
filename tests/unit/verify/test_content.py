"""Promises of canonical JSON and the content digest: RFC 8785, exact integers, and no ambiguous text."""

import json
import math
import random
import struct

import pytest
import rfc8785

from aegis_stream.verify.content import DEPTH_MAX, Unreadable, canonical, digest, loads, number

NUMBERS = {
    0x0000000000000000: "0",
    0x8000000000000000: "0",
    0x0000000000000001: "5e-324",
    0x8000000000000001: "-5e-324",
    0x7FEFFFFFFFFFFFFF: "1.7976931348623157e+308",
    0xFFEFFFFFFFFFFFFF: "-1.7976931348623157e+308",
    0x4340000000000000: "9007199254740992",
    0xC340000000000000: "-9007199254740992",
    0x4430000000000000: "295147905179352830000",
    0x44B52D02C7E14AF5: "9.999999999999997e+22",
    0x44B52D02C7E14AF6: "1e+23",
    0x44B52D02C7E14AF7: "1.0000000000000001e+23",
    0x444B1AE4D6E2EF4E: "999999999999999700000",
    0x444B1AE4D6E2EF4F: "999999999999999900000",
    0x444B1AE4D6E2EF50: "1e+21",
    0x3EB0C6F7A0B5ED8C: "9.999999999999997e-7",
    0x3EB0C6F7A0B5ED8D: "0.000001",
    0x41B3DE4355555553: "333333333.3333332",
    0x41B3DE4355555554: "333333333.33333325",
    0x41B3DE4355555555: "333333333.3333333",
    0x41B3DE4355555556: "333333333.3333334",
    0x41B3DE4355555557: "333333333.33333343",
    0xBECBF647612F3696: "-0.0000033333333333333333",
    0x43143FF3C1CB0959: "1424953923781206.2",
}


@pytest.mark.parametrize("bits, text", NUMBERS.items())
def test_the_numbers_of_the_rfc(bits, text):
    """The samples of RFC 8785 appendix B are written as it says."""
    (value,) = struct.unpack(">d", bits.to_bytes(8, "big"))

    assert number(value) == text


def test_random_doubles_are_the_same_double():
    """What is written is the shortest text that reads back as the same double, as the reference writes it.

    Below a power of two several texts of the same length read back as the double: the nearest one counts.
    """
    chance = random.Random(8785)
    drawn = [struct.unpack(">d", chance.randbytes(8))[0] for _ in range(2000)]
    for value in [*drawn, *[2.0**-power for power in range(1074)]]:
        if not math.isfinite(value):
            continue
        assert float(number(value)) == value
        assert canonical(value).decode() == rfc8785.dumps(value).decode()


def test_the_sample_of_the_rfc():
    """The object of RFC 8785 section 3.2.2 becomes the text of section 3.2.4."""
    text = (
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        r' "string": "\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}'
    )

    assert canonical(loads(text)).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_names_are_ordered_by_utf_16():
    """Names are in the order of their UTF-16 code units: an emoji comes before U+FB33."""
    text = r'{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}'

    assert list(json.loads(canonical(loads(text)))) == ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]


@pytest.mark.parametrize(
    "one, other",
    [
        ('{"a":1,"b":2}', '{ "b": 2, "a": 1 }'),
        ('{"a":1.0}', '{"a":1}'),
        ('{"a":1e3}', '{"a":1000}'),
        ('{"a":-0}', '{"a":0.0}'),
        (r'{"a":"\u00e4\/"}', '{"a":"ä/"}'),
        ('{"a":9007199254740993}', '{"a":9007199254740993}'),
    ],
)
def test_other_spellings_have_the_same_digest(one, other):
    """Order, space, escapes and the spelling of doubles do not count."""
    assert digest(loads(one)) == digest(loads(other))


@pytest.mark.parametrize(
    "one, other",
    [
        ('{"a":9007199254740993}', '{"a":9007199254740992}'),
        ('{"a":123456789012345678901234567890}', '{"a":123456789012345678901234567891}'),
        ('{"a":1}', '{"a":"1"}'),
        ('{"a":[1,2]}', '{"a":[2,1]}'),
        ('{"a":null}', "{}"),
        ('{"a":{}}', '{"a":[]}'),
        ('{"a":true}', '{"a":1}'),
    ],
)
def test_other_contents_have_other_digests(one, other):
    """What means something else has another digest; also where a double would hide the difference."""
    assert digest(loads(one)) != digest(loads(other))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":{"b":1,"b":2}}',
        '{"a":1}x',
        '{"a":1}{"a":1}',
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":1e9999}',
        '{"a":-1e9999}',
        '{"a":01}',
        "{'a':1}",
        '{"a":1,}',
        '{"a":"\n"}',
        '{"a"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a":' + "9" * 5000 + "}",
        "",
        "\ufeff{}",
    ],
)
def test_ambiguous_or_hostile_json_is_unreadable(text):
    """What two programs could read differently, or what exhausts one, is refused with a reason."""
    with pytest.raises(Unreadable, match=r"^(is|has)"):
        loads(text)


def test_depth_is_bounded():
    """Nesting up to the limit has a digest; beyond it is unreadable, also in arrays of objects."""
    assert digest(loads("[" * DEPTH_MAX + "]" * DEPTH_MAX))
    for opening, closing in (("[", "]"), ('[{"a":', "}]")):
        with pytest.raises(Unreadable, match="deep"):
            digest(loads(opening * (DEPTH_MAX + 2) + "1" + closing * (DEPTH_MAX + 2)))


def test_half_a_surrogate_pair_has_no_digest():
    """A lone surrogate has no UTF-8: it is refused, not replaced."""
    with pytest.raises(Unreadable, match="surrogate"):
        digest(loads(r'{"a":"\ud800"}'))
