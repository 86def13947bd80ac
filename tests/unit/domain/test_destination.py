"""Promises about destinations: filters, masks, and the checks on what a user wrote."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import (
    HEADER_VALUE_CHARACTERS_MAX,
    HEADERS_MAX,
    MASK,
    BatchPolicy,
    Destination,
    DestinationSpec,
    Filter,
    auth_header_problems,
    header_problems,
    mask_url,
    policy_problems,
)
from aegis_stream.domain.names import NAME_ALLOWED

URL = "https://siem.example.com/in"
SECRET = "Bearer c4n4ry"


def fields(problems) -> list[str]:
    """Return which fields are wrong."""
    return [one.field for one in problems]


@pytest.mark.parametrize(
    "one, dataset, decision, wanted",
    [
        (Filter(), "x", None, True),
        (Filter(datasets=("x", "y")), "y", None, True),
        (Filter(datasets=("x",)), "y", None, False),
        (Filter(datasets=("x",)), "", None, False),
        (Filter(decisions=("BLOCKED",)), "x", "BLOCKED", True),
        (Filter(decisions=("BLOCKED",)), "x", "ALLOWED", False),
        (Filter(decisions=("BLOCKED",)), "x", None, False),
        (Filter(("x",), ("BLOCKED",)), "x", "BLOCKED", True),
        (Filter(("x",), ("BLOCKED",)), "y", "BLOCKED", False),
    ],
)
def test_a_filter_wants_what_both_lists_want(one, dataset, decision, wanted):
    """An event passes when its dataset and its decision are in the lists; an empty list lets everything pass."""
    assert one.wants(dataset, decision) is wanted


def test_a_filter_knows_that_it_filters_nothing():
    """Only a filter with both lists empty wants all."""
    assert Filter().wants_all
    assert not Filter(datasets=("x",)).wants_all
    assert not Filter(decisions=("BLOCKED",)).wants_all


@pytest.mark.parametrize(
    "name, value, wrong",
    [
        (None, None, []),
        ("Authorization", SECRET, []),
        ("X-Api-Key", "x", []),
        ("!#$%&'*+-.^_`|~", "~", []),
        ("A" * 128, "x" * HEADER_VALUE_CHARACTERS_MAX, []),
        ("Authorization", None, ["auth_header_value"]),
        (None, SECRET, ["auth_header_name"]),
        ("", SECRET, ["auth_header_name"]),
        ("A" * 129, SECRET, ["auth_header_name"]),
        ("X Key", SECRET, ["auth_header_name"]),
        ("X-Key\n", SECRET, ["auth_header_name"]),
        ("X-Kéy", SECRET, ["auth_header_name"]),
        ("HOST", SECRET, ["auth_header_name"]),
        ("content-length", SECRET, ["auth_header_name"]),
        ("X-Aegis-Signature", SECRET, ["auth_header_name"]),
        ("X-Key", "", ["auth_header_value"]),
        ("X-Key", "x" * (HEADER_VALUE_CHARACTERS_MAX + 1), ["auth_header_value"]),
        ("X-Key", SECRET + "\n", ["auth_header_value"]),
        ("X-Key", SECRET + "\r\nX: y", ["auth_header_value"]),
        ("X-Key", SECRET + "\x00", ["auth_header_value"]),
        ("X-Key", " " + SECRET, ["auth_header_value"]),
        ("X-Key", SECRET + "é", ["auth_header_value"]),
        ("Host", SECRET + "\n", ["auth_header_name", "auth_header_value"]),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_checks_the_auth_header(name, value, wrong):
    """Name and value are set both or neither, the name is allowed, the value is visible ASCII; no message repeats the value."""
    problems = auth_header_problems(name, value)

    assert fields(problems) == wrong
    assert "c4n4ry" not in repr(problems)


@pytest.mark.parametrize(
    "headers, wrong",
    [
        ((), []),
        ((("X-Scope-OrgID", "t1"), ("X-Key", SECRET)), []),
        (tuple((f"X-{number}", "v") for number in range(HEADERS_MAX)), []),
        (tuple((f"X-{number}", "v") for number in range(HEADERS_MAX + 1)), ["headers"]),
        ((("A" * 128, "x" * HEADER_VALUE_CHARACTERS_MAX),), []),
        ((("A" * 129, "v"),), ["headers"]),
        ((("", "v"),), ["headers"]),
        (((SECRET, "v"),), ["headers"]),
        ((("X-Kéy", "v"), ("X-Key\n", "v"), ("X:", "v")), ["headers"] * 3),
        ((("HOST", "v"),), ["headers.HOST"]),
        ((("content-length", "v"),), ["headers.content-length"]),
        ((("Content-Type", "v"),), ["headers.Content-Type"]),
        ((("Content-Encoding", "v"),), ["headers.Content-Encoding"]),
        ((("User-Agent", "v"),), ["headers.User-Agent"]),
        ((("X-Aegis-Signature", "v"),), ["headers.X-Aegis-Signature"]),
        ((("authorization", "v"),), ["headers.authorization"]),
        ((("X-Key", "v"), ("x-KEY", "w")), ["headers.x-KEY"]),
        ((("X-Key", ""),), ["headers.X-Key"]),
        ((("X-Key", "x" * (HEADER_VALUE_CHARACTERS_MAX + 1)),), ["headers.X-Key"]),
        ((("X-Key", SECRET + "\n"),), ["headers.X-Key"]),
        ((("X-Key", SECRET + "\r\nX: y"),), ["headers.X-Key"]),
        ((("X-Key", SECRET + "\x00"),), ["headers.X-Key"]),
        ((("X-Key", SECRET + "é"),), ["headers.X-Key"]),
        (
            (("X-A", "v"), ("Host", SECRET + "\n"), ("X-B", " v")),
            ["headers.Host", "headers.Host", "headers.X-B"],
        ),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_checks_further_headers(headers, wrong):
    """Each is checked as the auth header is, and none stands twice or beside an auth header of its name; no message repeats
    a value, nor what is no name.
    """
    problems = header_problems(headers, "Authorization")

    assert fields(problems) == wrong
    assert "c4n4ry" not in repr(problems)


def test_a_header_s_problem_says_what_to_do():
    """What is wrong with a header, or with one of several, is told with its number or its name, and with the way out."""
    no_name = "must be a header name: letters, digits and -, such as Authorization"
    headers = (
        ("X-A", "v"),
        ("X B", "v"),
        ("Host", "v"),
        ("X-C", ""),
        ("authorization", "v"),
        ("x-a", "v"),
        ("", "v"),
    )

    assert [(one.field, one.message) for one in header_problems(headers, "Authorization")] == [
        ("headers", f"name number 2 {no_name}"),
        ("headers.Host", "Host is set by the service: use another header"),
        (
            "headers.X-C",
            "is required: a stored value is not kept when the host of url, or ca_certificate, changes",
        ),
        ("headers.authorization", "is already the auth header: remove it from headers"),
        ("headers.x-a", "appears twice (header names ignore case): send it once"),
        ("headers", f"name number 7 {no_name}"),
    ]
    assert [one.message for one in header_problems((("X", "v"),) * 11, None)] == [
        "has 11 headers; the limit is 10: remove some"
    ]
    (problem,) = auth_header_problems("X-Key", "a\nb")
    assert problem.message.startswith("must be 1 to 8192 visible ASCII characters")
    (problem,) = header_problems((("X-Key", "a\nb"),), None)
    assert problem.message.startswith("must be 1 to 8192 visible ASCII characters")
    assert [one.message for one in auth_header_problems("", None)] == [
        "set both auth_header_name and auth_header_value, or neither",
        no_name,
    ]


def test_a_setting_s_problem_names_its_range():
    """What is out of its range is told with the range."""
    spec = DestinationSpec(
        URL,
        name="a\nb",
        compression="lzma",
        batch=BatchPolicy(0, 0, -1),
        retry=RetryPolicy(0, 0, 0, -1),
        filter=Filter(("",), ("MAYBE",)),
        ca_certificate="x" * 65_537,
    )

    told = {one.field: one.message for one in policy_problems(spec)}

    assert told.pop("name") == f"must be {NAME_ALLOWED}"
    assert told.pop("ca_certificate").startswith("has 65,537 characters")
    assert told == {
        "compression": "must be none, gzip or zstd",
        "batch.max_events": "must be 1 to 10000",
        "batch.max_bytes": "must be 1000 to 10000000 bytes",
        "batch.max_wait_ms": "must be 0 to 60000 milliseconds",
        "retry.max_attempts": "must be 1 to 20",
        "retry.base_seconds": "must be 0.001 to 86400 seconds",
        "retry.multiplier": "must be 1 to 10",
        "retry.max_seconds": "must be from base_seconds to 604800 seconds",
        "filter.datasets": "must be at most 100 names of 1 to 256 characters",
        "filter.decisions": "must be ALLOWED, ALLOWED_WITH_MASKING or BLOCKED",
    }


def test_without_an_auth_header_every_name_is_free():
    """Authorization is allowed as an additional header if it is not the auth header."""
    assert header_problems((("Authorization", SECRET),), None) == []


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_header_value_that_passes_can_split_a_request(value):
    """An accepted value has only visible ASCII and inner blanks, so it stays on one line."""
    problems = auth_header_problems("X-Key", value)
    assert bool(header_problems((("X-Key", value),), None)) == bool(problems)
    if not problems:
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip()
        assert value


@pytest.mark.parametrize(
    "changes, wrong",
    [
        ({}, []),
        ({"name": "x" * 200}, []),
        ({"name": "x" * 201}, ["name"]),
        ({"name": "a\nb"}, ["name"]),
        ({"compression": "gzip"}, []),
        ({"compression": "zstd"}, []),
        ({"compression": "lzma"}, ["compression"]),
        ({"batch": BatchPolicy(1, 1_000, 0)}, []),
        ({"batch": BatchPolicy(10_000, 10_000_000, 60_000)}, []),
        ({"batch": BatchPolicy(0, 999, -1)}, ["batch.max_events", "batch.max_bytes", "batch.max_wait_ms"]),
        (
            {"batch": BatchPolicy(10_001, 10_000_001, 60_001)},
            ["batch.max_events", "batch.max_bytes", "batch.max_wait_ms"],
        ),
        ({"retry": RetryPolicy(20, 86_400, 10, 604_800)}, []),
        ({"retry": RetryPolicy(1, 0.001, 1, 0.001)}, []),
        (
            {"retry": RetryPolicy(0, 60, 0.9, 604_801)},
            ["retry.max_attempts", "retry.multiplier", "retry.max_seconds"],
        ),
        (
            {"retry": RetryPolicy(21, 0, 11, 3600)},
            ["retry.max_attempts", "retry.base_seconds", "retry.multiplier"],
        ),
        ({"retry": RetryPolicy(3, 100, 2, 99)}, ["retry.max_seconds"]),
        ({"retry": RetryPolicy(3, float("nan"), 2, 99)}, ["retry.base_seconds", "retry.max_seconds"]),
        ({"filter": Filter(("x",) * 100, ("ALLOWED", "BLOCKED"))}, []),
        ({"filter": Filter(("x" * 256,), ("ALLOWED_WITH_MASKING",))}, []),
        ({"filter": Filter((), ("BLOCKED", "ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"))}, []),
        ({"filter": Filter(("x",) * 101)}, ["filter.datasets"]),
        ({"retry": RetryPolicy(3, 86_401, 2, 604_800)}, ["retry.base_seconds"]),
        ({"filter": Filter(("",))}, ["filter.datasets"]),
        ({"filter": Filter(("x" * 257,))}, ["filter.datasets"]),
        ({"filter": Filter((), ("MAYBE",))}, ["filter.decisions"]),
        ({"ca_certificate": "x" * 65_536}, []),
        ({"ca_certificate": "x" * 65_537}, ["ca_certificate"]),
        ({"ca_certificate": "-----BEGIN CERTIFICATE-----\n" * 16}, []),
        ({"ca_certificate": "-----BEGIN CERTIFICATE-----\n" * 17}, ["ca_certificate"]),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_checks_every_range(changes, wrong):
    """Every setting has a range that includes both ends; a value outside is rejected by the setting's name."""
    assert fields(policy_problems(DestinationSpec(URL, **changes))) == wrong


@pytest.mark.parametrize(
    "url, masked",
    [
        ("https://h.example", "https://h.example"),
        ("https://h.example/", "https://h.example/"),
        ("https://h.example/in", "https://h.example/in"),
        ("https://h.example/in/", f"https://h.example/in/{MASK}"),
        ("https://h.example/in/12345678", f"https://h.example/in/{MASK}"),
        ("https://h.example/in/123456789", f"https://h.example/in/{MASK}6789"),
        ("https://h.example:8443/a/b/c?d=123456789", f"https://h.example:8443/a/{MASK}6789"),
        ("https://h.example/in?token=123456789", f"https://h.example/in?{MASK}6789"),
        ("https://h.example?token=123456789", f"https://h.example?{MASK}6789"),
        ("https://h.example?a?b=123456789", f"https://h.example?{MASK}6789"),
        ("https:///in/123456789", f"https:///in/{MASK}6789"),
        ("https://?a=123456789", f"https://?{MASK}6789"),
        ("https://h.example?a/b/123456789", f"https://h.example?{MASK}6789"),
        ("https://h.example/a?b=/c/123456789", f"https://h.example/a?{MASK}6789"),
        ("https://h.example/in?u=https://x.example/123456789", f"https://h.example/in?{MASK}6789"),
        ("https://[2001:db8::1]:9/in/123456789", f"https://[2001:db8::1]:9/in/{MASK}6789"),
    ],
)
def test_masks_a_url_that_is_the_credential(url, masked):
    """After the host, only the first path segment and the last four characters of a long tail are shown."""
    assert mask_url(url) == masked


@settings(deadline=None)
@given(
    first=st.text("abcxyz", max_size=5),
    separator=st.sampled_from("/?"),
    tail=st.text("0123456789/?=&", min_size=1, max_size=60),
)
def test_a_mask_never_shows_more_than_four_characters_of_the_tail(first, separator, tail):
    """Of everything after the first segment at most the last four characters are shown."""
    masked = mask_url(f"https://h.example/{first}{separator}{tail}")

    shown = masked.removeprefix(f"https://h.example/{first}{separator}").removeprefix(MASK)
    assert len(shown) <= 4
    assert tail.endswith(shown)
    assert MASK in masked


def test_secrets_are_not_in_the_repr():
    """The repr of a spec, as in a traceback or a log, shows neither URL nor credential nor headers."""
    spec = DestinationSpec(
        "https://h.example/c4n4ry-url", "Authorization", SECRET, headers=(("X-Key", "c4n4ry"),)
    )

    assert "c4n4ry" not in repr(spec)


def test_a_destination_can_be_configured_otherwise():
    """with_spec changes configuration and time, and nothing else."""
    one = Destination(1, "dst_1", 2, "org_1", DestinationSpec(URL), 3, 100, 100)

    other = one.with_spec(DestinationSpec(URL, name="x"), 200)

    assert (other.spec.name, other.updated_at) == ("x", 200)
    assert (other.no, other.dst_id, other.organization_no, other.created_at) == (1, "dst_1", 2, 100)
