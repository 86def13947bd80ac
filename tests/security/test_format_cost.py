"""What one event costs on its way, from check to request: linear in its bytes, in time and in output, whatever it looks like."""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.parsing import parse_event
from aegis_stream.formats import REGISTRY
from support.api import ORG, make_event
from support.cost import operations_of

SIZE = 24_000
"""Bytes of the larger one of two events."""
GROWTH_MAX = 11
"""Most bytes of a request for each byte of an event."""
DEPTH = 28


def deep(value: Any, *names: str) -> Any:
    """Return a value below these names."""
    for name in reversed(names):
        value = {name: value}
    return value


def many(make: Callable[[int], Any]) -> Callable[[int], dict[str, Any]]:
    """Return what makes an object of so many members."""
    return lambda n: {f"{number:x}": make(number) for number in range(n)}


def one_name(n: int) -> dict[str, Any]:
    """Return names that are split in many ways, and all have the same name when they are joined with dots."""
    joined = "abcdefgh"
    wholes = [
        deep(n, *("".join(part) for part in _split(joined, cuts))) for cuts in range(min(n, 2 ** len(joined)))
    ]
    return {"x": {"a": wholes}} | functools.reduce(_merged, wholes, {})


def _split(letters: str, cuts: int) -> list[list[str]]:
    """Cut letters where bits are set, and join the rest with dots."""
    parts = [[letters[0]]]
    for place, letter in enumerate(letters[1:]):
        if cuts >> place & 1:
            parts.append([letter])
        else:
            parts[-1] += [".", letter]
    return parts


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = dict(one)
    for name, value in other.items():
        mine = both.get(name)
        both[name] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return both


SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "wide": many(lambda number: number),
    "deep": many(lambda number: deep(number, *"d" * DEPTH)),
    "dots": lambda n: {f"a.{number:x}.b": 1 for number in range(n)},
    "one name of dots": lambda n: {"." * n: 1},
    "a path of one long name": lambda n: {"k" * 250: many(lambda _: 1)(n)},
    "a path of many names": lambda n: deep(many(lambda _: 1)(n), *["k" * 9] * DEPTH),
    "many long paths": lambda n: {f"{number:x}" * 60: many(lambda _: 1)(99) for number in range(n // 99)},
    "names that collide": one_name,
    "names with suffixes": lambda n: {"a": {"b": 1}, "a.b": 2} | {f"a.b_{number}": 3 for number in range(n)},
    "empty names": lambda n: {"": 1} | {"_" * number: 1 for number in range(1, int(n**0.5))},
    "a long text": lambda n: {"x": "y" * n},
    "a text of emoji": lambda n: {"x": "😀" * n},
    "a text of quotation marks": lambda n: {"x": '"' * n},
    "a text of control characters": lambda n: {"x": "\x01" * n},
    "a message in lines": lambda n: {"message": "a\n" * n},
    "a message that is JSON": lambda n: {"message": "[" * n},
    "a name of control characters": lambda n: {"\x01" * n: 1},
    "floats": lambda n: {"x": [1.5] * n},
    "floats that are hard to read": lambda n: {"x": [1.5e300, 5e-324, 1e23] * n},
    "large integers": lambda n: {"x": [10**30, -(10**300)] * n},
    "nulls": many(lambda _: None),
    "empty lists": lambda n: {"x": [[]] * n},
    "empty objects": lambda n: {"x": [{}] * n},
    "lists of objects": lambda n: {"x": [{"a": {"b": [1]}}] * n},
    "lists in members": many(lambda _: [{}]),
    "a list of texts": lambda n: {"tags": ["a,b", "c"] * n},
}


def event(shape: str, size: int) -> NewEvent:
    """Build an event of a shape with about so many bytes, as ingest accepts it."""
    count, made = 16, b""
    while len(made) < size:
        previous, made = made, make_event("e1", **SHAPES[shape](count))
        if len(made) == len(previous):
            break  # the shape has a largest size
        count = max(count + 1, min(2 * count, count * size // len(made) + 1))
    parsed = parse_event(made, OrganizationId(ORG), Micros(0), None)
    assert isinstance(parsed, NewEvent), parsed
    return parsed


@functools.cache
def events(shape: str) -> tuple[bytes, bytes]:
    """Return a small and a large event of a shape, as stored."""
    return event(shape, SIZE // 4).body.encode(), event(shape, SIZE).body.encode()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_request_costs_what_its_event_has_in_bytes(name, shape):
    """Operations grow no faster than the bytes of an event, and a request has a bounded number of bytes for each of them."""
    small, large = events(shape)
    encode = REGISTRY[name].encode
    encode([small])

    few = operations_of(lambda: encode([small]))
    more = operations_of(lambda: encode([large]))

    assert more - 200 <= few * 1.3 * len(large) / len(small)
    assert len(encode([large]).body) <= GROWTH_MAX * len(large)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_check_costs_what_its_event_has_in_bytes(shape):
    """Operations of the check at ingest grow no faster than the bytes of an event."""
    small, large = events(shape)

    few, more = (
        operations_of(lambda body=body: parse_event(body, OrganizationId(ORG), Micros(0), None))
        for body in (small, large)
    )

    assert more - 200 <= few * 1.3 * len(large) / len(small)


def cpu_s(work: Callable[[], object]) -> float:
    """Return the processor time of a function in seconds, the least of three."""
    times = []
    for _ in range(3):
        began_s = time.thread_time()
        work()
        times.append(time.thread_time() - began_s)
    return min(times)


@pytest.mark.parametrize(
    "number", ["1.5e300", "5e-324", "1e23", "-4.5e-301", "2.5E+290", "1.7976931348623157e308"]
)
def test_no_number_is_dear_to_read(number):
    """A number costs about as much as any other at ingest and in every format, however hard it is to find its double."""

    def body(text: str) -> bytes:
        numbers = ",".join([text] * (12_000 // len(text)))
        return make_event("e1", x=0).replace(b'"x":0', f'"x":[{numbers}]'.encode())

    easy, hard = body("0.12345678"), body(number)
    assert json.loads(hard)["x"][0] == float(number)

    def whole_way(one: bytes) -> None:
        parsed = parse_event(one, OrganizationId(ORG), Micros(0), None)
        assert isinstance(parsed, NewEvent)
        for format_ in REGISTRY.values():
            format_.encode([one])

    whole_way(easy)
    assert cpu_s(lambda: whole_way(hard)) < 8 * cpu_s(lambda: whole_way(easy))
