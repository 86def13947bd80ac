"""Promises of the plain formats: requests are the stored bytes, and only the status decides."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Fault, FaultKind, Response
from aegis_stream.domain.ids import Micros
from aegis_stream.formats import REGISTRY, resolve
from aegis_stream.formats.status import by_status, retry_after_seconds, wait_of
from support.formats import UNHURRIED

BODIES = [b'{"a":1}', b'{ "b" : "\\n" }', '{"c":"é"}'.encode()]
PLAIN = ["json", "ndjson", "json_array"]


# ── events → request ──


@pytest.mark.parametrize(
    "name, bodies, body, content_type",
    [
        ("json", BODIES[:1], BODIES[0], "application/json"),
        ("json", BODIES[1:2], BODIES[1], "application/json"),
        ("ndjson", BODIES, b"\n".join(BODIES) + b"\n", "application/x-ndjson"),
        ("ndjson", BODIES[:1], BODIES[0] + b"\n", "application/x-ndjson"),
        ("ndjson", [b'{\r\n"a":\n1}'], b'{  "a": 1}\n', "application/x-ndjson"),
        ("json_array", BODIES, b"[" + b",".join(BODIES) + b"]", "application/json"),
        ("json_array", BODIES[:1], b"[" + BODIES[0] + b"]", "application/json"),
    ],
)
def test_writes_the_request(name, bodies, body, content_type):
    """Each format writes exactly these bytes under exactly this content type, without parameters."""
    request = REGISTRY[name].encode(bodies)

    assert (request.body, request.content_type) == (body, content_type)


def test_one_event_travels_as_it_is_stored():
    """With format json the body is the stored bytes themselves."""
    body = b' {"z":1.50e+01 , "a":"\\u00e9"}\n'

    assert REGISTRY["json"].encode([body]).body is body


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_format_is_found_by_its_name(name):
    """A format that is chosen by name is used for any URL."""
    assert resolve(name, "https://h.example/").name == name


def test_an_unknown_format_is_a_key_error():
    """A name that is not registered has no format."""
    with pytest.raises(KeyError):
        resolve("xml", "https://h.example/")


# ── answer → verdict ──


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("retry_after", [None, "5", "Fri, 31 Dec 1999 23:59:59 GMT", "\xff"])
def test_every_status_has_a_verdict(name, retry_after):
    """Any status from 0 to 999 is judged: 2xx is success, everything else a failure with its status and a reason."""
    for status in range(1000):
        verdict = REGISTRY[name].interpret(Response(status, b"\xff" * 10, 100, retry_after), 1)

        if 200 <= status < 300:
            assert isinstance(verdict, Accepted)
            assert (verdict.status_code, verdict.overload, verdict.ack_id) == (status, False, None)
        else:
            assert isinstance(verdict, Failure)
            assert verdict.status_code == status
            assert str(status) in verdict.message


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_a_verdict(kind):
    """Any fault is a failure about the destination without a status, and its message is repeated."""
    verdict = by_status(Fault(kind, "it went wrong", 100), 5)

    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.status_code, verdict.retry_after_s) == (
        FailureScope.DESTINATION,
        None,
        None,
    )
    assert "it went wrong" in verdict.message


@pytest.mark.parametrize(
    "status, scope, fix_needed, overload",
    [
        (100, FailureScope.DESTINATION, False, False),
        (199, FailureScope.DESTINATION, False, False),
        (300, FailureScope.DESTINATION, True, False),
        (301, FailureScope.DESTINATION, True, False),
        (307, FailureScope.DESTINATION, True, False),
        (399, FailureScope.DESTINATION, True, False),
        (400, FailureScope.EVENT, False, False),
        (401, FailureScope.DESTINATION, True, False),
        (402, FailureScope.DESTINATION, True, False),
        (403, FailureScope.DESTINATION, True, False),
        (404, FailureScope.DESTINATION, True, False),
        (408, FailureScope.DESTINATION, False, False),
        (410, FailureScope.DESTINATION, True, False),
        (413, FailureScope.EVENT, False, False),
        (415, FailureScope.DESTINATION, True, False),
        (418, FailureScope.DESTINATION, False, False),
        (422, FailureScope.EVENT, False, False),
        (429, FailureScope.DESTINATION, False, True),
        (500, FailureScope.DESTINATION, False, False),
        (502, FailureScope.DESTINATION, False, False),
        (503, FailureScope.DESTINATION, False, True),
        (504, FailureScope.DESTINATION, False, False),
        (999, FailureScope.DESTINATION, False, False),
    ],
)
def test_tells_whose_fault_it_is(status, scope, fix_needed, overload):
    """400, 413 and 422 are about the event; 429 and 503 are overload; redirects and rejected credentials need a person."""
    verdict = by_status(Response(status, b"", 100), 1)

    assert (verdict.scope, verdict.fix_needed, verdict.overload) == (scope, fix_needed, overload)


@pytest.mark.parametrize(
    "kind, fix_needed, overload",
    [
        (FaultKind.TLS, True, False),
        (FaultKind.FORBIDDEN, True, False),
        (FaultKind.TIMEOUT, False, True),
        (FaultKind.CONNECT, False, False),
        (FaultKind.DNS, False, False),
        (FaultKind.CLOSED, False, False),
        (FaultKind.PROTOCOL, False, False),
    ],
)
def test_tells_which_faults_stay(kind, fix_needed, overload):
    """A bad certificate or a forbidden address needs a person; a timeout is overload."""
    verdict = by_status(Fault(kind, "x", 0), 1)

    assert (verdict.fix_needed, verdict.overload) == (fix_needed, overload)


@pytest.mark.parametrize(
    "text, seconds",
    [
        (None, None),
        ("0", 0),
        ("5", 5),
        (" 7 ", 7),
        ("3600", 3600),
        ("3601", 3600),
        ("99999999999999999999", 3600),
        ("9" * 21, None),
        ("9" * 5000, None),
        ("-1", None),
        ("6.0", 6),
        ("1.5", 1.5),
        ("7.", 7),
        (".5", None),
        ("1.5.2", None),
        ("+5", None),
        ("1_0", None),
        ("", None),
        ("soon", None),
        ("٣", None),
        ("²", None),
        ("0\x1f", None),
        ("5\x85", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
    ],
    ids=ascii,
)
def test_reads_retry_after(text, seconds):
    """Seconds count, with or without decimals, at most an hour; anything else counts as absent."""
    assert retry_after_seconds(text) == seconds


@settings(UNHURRIED)
@given(st.text(max_size=30))
def test_any_retry_after_is_bounded(text):
    """For any text the result is None or 0 to 3600 seconds."""
    found = retry_after_seconds(text)

    assert found is None or 0 <= found <= 3600


@pytest.mark.parametrize(
    "status, followed",
    [(429, 30), (503, 30), (408, 30), (413, 30), (502, 30), (500, None), (404, None), (302, None)],
)
def test_retry_after_counts_where_the_same_request_may_be_accepted_later(status, followed):
    """Only a destination that is too busy, or a gateway in front of it, may ask for more time."""
    assert by_status(Response(status, b"", 100, "30"), 1).retry_after_s == followed


@pytest.mark.parametrize(
    "text",
    ["Sat, 28 Nov 2026 20:00:06 GMT", "Saturday, 28-Nov-26 20:00:06 GMT", "Sat Nov 28 20:00:06 2026"],
)
def test_a_date_is_compared_with_the_answer_s_own(text):
    """A Retry-After that is a date, in any of HTTP's spellings, is the difference to Date: no clocks need to agree."""
    answer = Response(503, b"", 100, text, date="Sat, 28 Nov 2026 20:00:00 GMT")

    failure = by_status(answer, 1)

    assert (failure.retry_after_s, failure.retry_at) == (6.0, None)


@pytest.mark.parametrize(
    "date, seconds",
    [
        ("Sat, 28 Nov 2026 21:00:00 GMT", 0.0),
        ("Sat, 28 Nov 2020 20:00:00 GMT", 3600.0),
    ],
)
def test_a_date_that_is_over_or_far_away_is_bounded(date, seconds):
    """A date before the answer's own is no wait, and one years later is an hour."""
    answer = Response(429, b"", 100, "Sat, 28 Nov 2026 20:00:06 GMT", date=date)

    assert by_status(answer, 1).retry_after_s == seconds


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_date_without_the_answer_s_own_is_compared_with_our_clock(date):
    """Without a readable Date our clock decides, bounded by an hour, and a date that is over is no wait."""
    at = Micros(1_795_896_006_000_000)  # 2026-11-28T20:00:06Z
    failure = by_status(Response(503, b"", 100, "Sat, 28 Nov 2026 20:00:06 GMT", date=date), 1)

    assert (failure.retry_after_s, failure.retry_at) == (None, at)
    assert failure.waiting_from(Micros(at - 6_000_000)).retry_after_s == 6.0
    assert failure.waiting_from(Micros(at + 6_000_000)).retry_after_s == 0.0
    assert failure.waiting_from(Micros(0)).retry_after_s == 3600.0
    assert failure.waiting_from(Micros(0)).retry_at is None


@settings(UNHURRIED)
@given(st.text(max_size=40), st.none() | st.text(max_size=40))
def test_any_date_is_read_or_counts_as_absent(text, date):
    """For any texts the wait is none, bounded seconds, or a time."""
    seconds, until = wait_of(Response(503, b"", 100, text, date=date))

    assert seconds is None or 0 <= seconds <= 3600
    assert until is None or seconds is None


def test_a_redirect_says_where_it_pointed():
    """A redirect is a failure that names the host it pointed to, and says what to do."""
    verdict = by_status(Response(302, b"", 100, location_host="login.example.com"), 1)

    assert "login.example.com" in verdict.message
    assert "not followed" in verdict.message


@pytest.mark.parametrize(
    "status, hint",
    [(401, "auth_header"), (403, "permissions"), (404, "URL"), (413, "max_bytes"), (500, "log")],
)
def test_a_failure_says_what_to_do(status, hint):
    """The common failures come with advice."""
    assert hint in by_status(Response(status, b"", 100), 1).message


def test_the_body_of_an_answer_is_never_repeated():
    """No message contains text from an answer."""
    for status in range(0, 1000, 7):
        assert "c4n4ry" not in repr(by_status(Response(status, b"c4n4ry", 100), 1))


@pytest.mark.parametrize(
    "status, body, hint",
    [
        (200, b"<!doctype html><title>Sign in</title>", "web page"),
        (202, b"\r\n  <html>", "web page"),
        (207, b"{}", "207"),
        (260, b"", "loki"),
        (200, b"", None),
        (200, b"ok", None),
        (204, b" ", None),
        (201, b'{"a":"<"}', None),
    ],
)
def test_a_success_that_looks_odd_comes_with_a_warning(status, body, hint):
    """A 2xx is a success with any body; a web page, a 207 or a 260 gets a warning."""
    verdict = by_status(Response(status, body, 100), 1)

    assert isinstance(verdict, Accepted)
    assert (verdict.warning is None) == (hint is None)
    assert hint is None or hint in verdict.warning


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(
    "body, is_warned",
    [
        (b'{"partialSuccess":{}}', True),
        (b'{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":""}}', True),
        (b' {"x":1,"partialSuccess":null}', True),
        (b"{}", False),
        (b'{"partialSuccess":true}', False),
        (b'{"event":{"partialSuccess":{}}}', False),
        (b'["partialSuccess"]', False),
        (b'{"partialSuccess":{', False),
    ],
)
def test_a_success_of_an_otlp_receiver_comes_with_a_warning(name, body, is_warned):
    """An OTLP receiver answers success and drops other events: they count as delivered, and the warning says which format to use."""
    verdict = REGISTRY[name].interpret(Response(200, body, 100), 1)

    assert isinstance(verdict, Accepted)
    assert (verdict.warning is not None and "otlp_logs" in verdict.warning) == is_warned
    assert is_warned or verdict == Accepted(200)


@pytest.mark.parametrize("name", PLAIN)
def test_a_failure_in_the_words_of_otlp_is_a_failure(name):
    """A rejected request delivers nothing, whatever its body."""
    answer = Response(400, b'{"partialSuccess":{}}', 100)

    assert REGISTRY[name].interpret(answer, 1) == by_status(answer, 1)


@pytest.mark.parametrize("status", [403, 406])
def test_a_web_page_that_forbids_names_a_firewall(status):
    """A 403 or 406 with a web page may be a firewall's; without one it is the receiver's."""
    page = by_status(Response(status, b" <html>blocked</html>", 100), 1)
    plain = by_status(Response(status, b"{}", 100), 1)

    assert "firewall" in page.message
    assert "firewall" not in plain.message
