"""Content digests against `rfc8785`, the canonical JSON that others wrote: the verifier's, the sealer's and the reference log's.

One difference is by choice. An integer of 2^53 and more has neighbours that are the same double. RFC 8785 would write them alike, so
that a change of the low digits went unseen; the package refuses them. We keep their digits.
"""

import json
import math
import random
import struct
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.control.sealing import content_digest
from aegis_stream.verify.content import DIGEST_BYTES, Unreadable, canonical, digest, loads, number
from support import proof_log
from support.arrival import audit_events

DOUBLES = 25_000
UNIQUE_MAX = 2**53 - 1
"""Up to here no other integer is the same double."""


def by_oracle(value: Any) -> bytes:
    """Return the oracle's canonical JSON, with our one difference: large integers are given to it as texts, and put back."""
    large: list[int] = []
    text = rfc8785.dumps(_marked(value, large))
    for place, one in enumerate(large):
        text = text.replace(f'"\ue000{place}\ue000"'.encode(), str(one).encode())
    return text


def _marked(value: Any, large: list[int]) -> Any:
    if isinstance(value, dict):
        return {name: _marked(one, large) for name, one in value.items()}
    if isinstance(value, list):
        return [_marked(one, large) for one in value]
    if type(value) is int and abs(value) > UNIQUE_MAX:
        large.append(value)
        return f"\ue000{len(large) - 1}\ue000"
    return value


def random_doubles(count: int) -> list[float]:
    """Return doubles of every size and sign: half by chance of their bits, half with few digits, as people write them."""
    chance, found = random.Random(8785), list[float]()
    while len(found) < count:
        (value,) = struct.unpack(">d", chance.randbytes(8))
        written = float(f"{chance.randint(-(10**6), 10**6)}e{chance.randint(-30, 30)}")
        found += [one for one in (value, written) if math.isfinite(one)]
    return found[:count]


def test_random_doubles_are_written_as_the_oracle_writes_them():
    """Each of 25,000 doubles, those around each power of ten among them, has the same text in both."""
    doubles = random_doubles(DOUBLES)
    for exponent in range(-324, 309):
        edge = float(f"1e{exponent}")
        doubles += [edge, -edge, math.nextafter(edge, 0), math.nextafter(edge, math.inf)]

    differ = [one for one in doubles if number(one).encode() != rfc8785.dumps(one)]

    assert differ == []


def test_events_have_the_digest_of_the_oracle():
    """Events of some sixty products, or generated ones where those are not there: the digest of each is that of the oracle's text."""
    bodies = audit_events("org_abc").values()

    for body in bodies:
        expected = sha256(by_oracle(json.loads(body))).digest()[:DIGEST_BYTES]
        assert digest(loads(body.decode())) == expected, body
        assert content_digest(body) == expected, body
        assert proof_log.content(body) == expected, body


_texts = st.text(st.characters(exclude_characters="\ue000", exclude_categories=["Cs"]), max_size=12)
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts
)
_values = st.recursive(
    _scalars, lambda one: st.lists(one, max_size=4) | st.dictionaries(_texts, one, max_size=4), max_leaves=20
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(_texts, _values, max_size=6), st.booleans())
def test_generated_events_have_the_digest_of_the_oracle(event, escaped):
    """Whatever names, texts and numbers an event has, and however it is spelled, its digest is that of the oracle's text."""
    body = json.dumps(event, ensure_ascii=escaped).encode()
    expected = by_oracle(event)

    assert canonical(loads(body.decode())) == expected
    assert content_digest(body) == sha256(expected).digest()[:DIGEST_BYTES]


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_that_share_a_double_keep_their_digits(sign):
    """The largest integer that has a double of its own is written alike; from 2^53 on the oracle refuses, and we keep the digits."""
    assert canonical(sign * UNIQUE_MAX) == rfc8785.dumps(sign * UNIQUE_MAX)

    for value in (2**53, 2**53 + 1, 2**63, 2**64 - 1, 10**21, 10**40 + 1):
        with pytest.raises(rfc8785.IntegerDomainError):
            rfc8785.dumps(sign * value)
        assert canonical(sign * value) == str(sign * value).encode()


def test_what_the_difference_is_good_for():
    """Two integers that are the same double have one text in RFC 8785, and two digests here."""
    one, other = 2**53, 2**53 + 1

    assert rfc8785.dumps(float(one)) == rfc8785.dumps(float(other))
    assert digest({"count": one}) != digest({"count": other})


def test_a_double_of_that_size_is_written_as_the_oracle_writes_it():
    """Only integers keep their digits: 1e20 and 9007199254740993.0 are doubles, and as the RFC has them."""
    for text in ("1e20", "1e21", "9007199254740993.0", "-9007199254740993e0", "123456789012345678901.5"):
        assert canonical(loads(text)) == rfc8785.dumps(json.loads(text))


def test_both_refuse_half_a_surrogate_pair():
    """A text that has no UTF-8 has no canonical form."""
    with pytest.raises(rfc8785.CanonicalizationError):
        rfc8785.dumps({"a": "\ud800"})
    with pytest.raises(Unreadable):
        canonical({"a": "\ud800"})
