"""What destinations answer if something is wrong, by their contracts, and what happens to the events.

Nothing is lost: a credential is corrected and what waited arrives; a busy destination is asked again; a request that is too
large is cut; an event that is refused stands alone in the end. What arrives twice does so only where a destination keeps both.
"""

import math
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from support.pages import format_text
from support.service import RunningService, wait_until
from support.stubs import Reply, as_json
from support.stubs.configured import CONFIGURED, EVERY, OTHER_FORMS
from support.stubs.trial import Trial, trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BATCHING = list(CONFIGURED)
"""Every destination once, in the form in which many events travel together."""
SINGLE = ["sumo single", "elasticsearch doc", "elasticsearch create"]
DEDUPING = {"elasticsearch", "opensearch", "elasticsearch create", "loki"}
"""Destinations that keep one copy of what is sent twice."""
COUNT = 64
POISON = "e37"
HALVINGS = 2 * int(math.log2(COUNT))
"""Requests beyond the first until one of so many events stands alone."""


def stored_once(one: Trial) -> bool:
    """Tell whether every event is stored exactly once."""
    return Counter(one.stub.ids()) == Counter(one.events.keys())


# ── what somebody must fix ──


@pytest.mark.parametrize(
    "name, status",
    [
        ("sumo token", 401),
        ("cribl", 403),
        ("logstash", 401),
        ("vector", 401),
        ("panther", 401),
        ("new-relic", 403),
        ("datadog", 403),
        ("sentinel", 401),
        ("axiom", 403),
        ("better-stack", 403),
        ("honeycomb", 401),
        ("elasticsearch", 401),
        ("elasticsearch create", 401),
        ("opensearch", 401),
        ("splunk", 403),
    ],
)
def test_a_wrong_credential_loses_nothing(name: str, status: int, service: RunningService) -> None:
    """With a wrong credential the destination is failing and says so; when it is corrected, every event arrives once."""
    with trial(service, name, fields={"auth_header_value": "wrong"}) as one:
        one.record(3)
        assert one.wait() == {"delivered": 0, "dead": 3}
        shown = one.shown()
        assert (shown["status"], shown["last_error"]["status_code"]) == ("failing", status)
        assert "credential" in shown["last_error"]["message"] or "token" in shown["last_error"]["message"]
        assert one.stub.stored == []

        right = EVERY[name].fields
        one.change(auth_header_name=right["auth_header_name"], auth_header_value=right["auth_header_value"])
        one.record(1, first=3)

        assert one.wait() == {"delivered": 4, "dead": 0}
        assert stored_once(one)
        assert one.shown()["status"] == "active"


def test_a_backlog_waits_in_the_log_for_the_right_credential(service: RunningService) -> None:
    """With a wrong credential only a few of many events are attempted; the others keep all their attempts."""
    batch = {"max_events": 1, "max_wait_ms": 0}
    with trial(service, "cribl", fields={"auth_header_value": "wrong", "batch": batch}) as one:
        one.record(400)
        wait_until(lambda: one.shown()["status"] == "failing")
        stats = one.shown()["stats"]
        assert stats["failed_attempts"] < 200

        one.change(
            auth_header_name="Authorization", auth_header_value=EVERY["cribl"].fields["auth_header_value"]
        )

        assert one.wait() == {"delivered": 400, "dead": 0}
        assert stored_once(one)


@pytest.mark.parametrize(
    "name, reply, words",
    [
        ("better-stack", Reply(402), "answered 402: the destination's quota is used up"),
        (
            "sentinel",
            as_json(404, {"error": {"code": "NotFound"}}),
            "answered 404: there is nothing at this path",
        ),
        ("sentinel", as_json(403, {"error": {"code": "OperationFailed"}}), "answered 403"),
        ("vector", as_json(404, {"code": 404}), "answered 404"),
        (
            "elasticsearch",
            as_json(404, {"error": {"type": "index_not_found_exception"}, "status": 404}),
            "answered 404",
        ),
        ("splunk", as_json(400, {"text": "Incorrect index", "code": 7}), "the token's index does not exist"),
        ("splunk", as_json(400, {"text": "Data channel is missing", "code": 10}), "add ?channel= and a GUID"),
        (
            "splunk",
            as_json(400, {"text": "Invalid token", "code": 21}),
            "the token is missing, wrong or disabled",
        ),
        ("loki", Reply(260, b"ingestion blocked"), "answered 260: Loki blocks"),
        (
            "cribl",
            Reply(302, b"", (("Location", "https://login.example.com/"),)),
            "redirects are not followed",
        ),
    ],
)
def test_what_somebody_must_fix_waits_for_it(
    name: str, reply: Reply, words: str, service: RunningService
) -> None:
    """An answer about the destination costs no event: dead letters are redriven when the destination recovers."""
    with trial(service, name) as one:
        one.stub.script(*[reply] * 3)
        one.record(3)
        assert one.wait() == {"delivered": 0, "dead": 3}
        assert words in one.last_error()

        one.record(1, first=3)

        assert one.wait() == {"delivered": 4, "dead": 0}
        assert stored_once(one)


# ── too busy ──


@pytest.mark.parametrize("name", BATCHING + SINGLE)
def test_a_busy_destination_is_asked_again(name: str, service: RunningService) -> None:
    """Events that are rejected because of overload are sent again, and stored once."""
    with trial(service, name) as one:
        busy = one.stub.busy
        one.stub.script(Reply(busy.status, busy.body))
        one.record(4)

        assert one.wait() == {"delivered": 4, "dead": 0}
        assert stored_once(one)
        # A destination that takes events one by one refused one of them; all others travelled together.
        assert Counter(state.attempts for state in one.states().values())[2] == (1 if name in SINGLE else 4)


@pytest.mark.parametrize(
    "name, fault",
    [
        ("logstash", "queue_full"),
        ("fluentd", "buffer_overflow"),
        ("vector", "errored"),
        ("vector", "rejected"),
        ("splunk", "at_capacity"),
        ("elasticsearch", "reject_half"),
        ("opensearch", "reject_half"),
        ("honeycomb", "throttled_half"),
        ("better-stack", "quota"),
    ],
)
def test_a_passing_fault_costs_nothing(name: str, fault: str, service: RunningService) -> None:
    """Events that a destination cannot store now, all or half of them, are stored later, once."""
    with trial(service, name) as one:
        one.stub.fail(fault, times=1)
        one.record(4)

        assert one.wait() == {"delivered": 4, "dead": 0}
        assert stored_once(one)


def test_a_warning_of_the_receiver_is_in_the_log(service: RunningService) -> None:
    """The warning of an OTLP receiver that accepted everything is shown."""
    with trial(service, "otlp") as one:
        one.stub.fail("warn")
        one.record(4)

        assert one.wait() == {"delivered": 4, "dead": 0}
        assert stored_once(one)
        assert "the receiver accepted the events with a warning" in one.warnings()[0]


@pytest.mark.parametrize("name", ["new-relic", "sentinel", "otlp", "splunk", "datadog"])
def test_retry_after_is_kept(name: str, service: RunningService) -> None:
    """With a Retry-After the next attempt is no earlier, and no event is dead-lettered."""
    with trial(service, name) as one:
        busy = one.stub.busy
        one.stub.script(Reply(busy.status, busy.body, (("Retry-After", "120"),)))
        one.record(3)
        wait_until(lambda: one.shown()["stats"]["retrying"] == 3)

        attempts = one.client.request("GET", f"/forwarding-destinations/{one.dst_id}/deliveries")["data"]

        for attempt in attempts:
            state = one.states()[attempt["event_id"]]
            assert state.state == "retrying"
            waits = datetime.fromisoformat(str(state.next_attempt_at)) - datetime.fromisoformat(attempt["at"])
            assert 120 <= waits.total_seconds() <= 3600
        assert len(attempts) == 3
        assert one.stub.stored == []


# ── too large ──


@pytest.mark.parametrize("name", BATCHING)
def test_a_request_that_is_too_large_is_cut(name: str, service: RunningService) -> None:
    """Events of a too large request arrive in smaller requests; an event that alone is too large is a dead letter."""
    with trial(service, name) as one:
        one.stub.body_bytes_max = 6000  # type: ignore[misc]
        one.record(COUNT)
        one.record(1, first=COUNT, note="x" * 6000)

        assert one.wait() == {"delivered": COUNT, "dead": 1}
        assert (states := one.states())[f"e{COUNT}"].state == "dead_letter"
        assert states[f"e{COUNT}"].last_status_code == 413
        assert sorted(one.stub.ids()) == sorted(list(one.events)[:COUNT])


# ── an event that is refused ──


@pytest.mark.parametrize(
    "name, requests_max, may_repeat",
    [
        # One by one: the answer says which.
        ("elasticsearch", 1, False),
        ("honeycomb", 1, False),
        ("splunk", 2, False),
        # By halving: the answer is about the whole request, and nothing of it is stored.
        ("datadog", 1 + HALVINGS, False),
        ("sentinel", 1 + HALVINGS, False),
        ("better-stack", 1 + HALVINGS, False),
        # Likewise, and the refused one has all its attempts, since these contracts do not say that a 400 is for good.
        ("vector", 1 + HALVINGS + 2, False),
        ("fluentd", 1 + HALVINGS + 2, False),
        # What is valid of a request is stored although it is refused.
        ("loki", 1 + HALVINGS, False),
        ("fluent-bit", 1 + HALVINGS + 2, True),
        ("axiom", 1 + HALVINGS, True),
    ],
)
def test_a_refused_event_stands_alone_in_the_end(
    name: str, requests_max: int, may_repeat: bool, service: RunningService
) -> None:
    """One rejected event of 64 is found with few requests and becomes a dead letter; all others are delivered."""
    with trial(service, name, refused_ids={POISON}) as one:
        record_with_poison(one, name)

        assert one.wait() == {"delivered": COUNT - 1, "dead": 1}
        assert one.states()[POISON].state == "dead_letter"
        assert len(one.stub.requests) <= requests_max
        stored = Counter(one.stub.ids())
        assert set(stored) == set(one.events) - {POISON}
        assert (max(stored.values()) == 1) != may_repeat


def record_with_poison(one: Trial, name: str) -> None:
    """Record 64 events in one request, one of which the destination will reject."""
    if name != "fluentd":
        one.record(COUNT)
        return
    # Fluentd refuses a request for a member `time` that is a text; paused, so that all events travel together.
    at = int(POISON[1:])
    one.client.request("POST", f"/forwarding-destinations/{one.dst_id}/pause")
    one.record(at)
    one.record(1, first=at, time="2026-05-15T10:33:21Z")
    one.record(COUNT - at - 1, first=at + 1)
    one.client.request("POST", f"/forwarding-destinations/{one.dst_id}/resume")


def test_logstash_does_not_keep_an_event_from_the_others(service: RunningService) -> None:
    """If Logstash answers 500 because of one event of 64, that one is a dead letter after its attempts; the others and later events arrive."""
    with trial(service, "logstash", refused_ids={POISON}) as one:
        one.record(COUNT)
        assert one.wait() == {"delivered": COUNT - 1, "dead": 1}
        one.record(1, first=COUNT)

        assert one.wait() == {"delivered": COUNT, "dead": 1}
        states = one.states()
        assert [event_id for event_id, state in states.items() if state.state != "delivered"] == [POISON]
        assert (states[POISON].state, states[POISON].last_status_code) == ("dead_letter", 500)
        assert set(one.stub.ids()) == set(one.events) - {POISON}


def test_a_line_far_behind_is_told_why(service: RunningService) -> None:
    """An event that Loki rejects because of its age is a dead letter with that reason; newer ones arrive, also in the same request."""
    with trial(service, "loki", fields={"compression": "gzip"}) as one:
        one.record(1)
        assert one.wait() == {"delivered": 1, "dead": 0}
        one.record(2, first=1, age_s=2 * 3600)
        one.record(2, first=3)

        assert one.wait() == {"delivered": 3, "dead": 2}
        dead = [state for state in one.states().values() if state.state == "dead_letter"]
        assert sorted(one.stub.ids()) == ["e0", "e3", "e4"]
        assert all("max_chunk_age" in str(state.last_error) for state in dead)
        assert all("compression" not in str(state.last_error) for state in dead)


def test_rejected_records_are_for_a_person_to_look_at(service: RunningService) -> None:
    """OTLP says how many records were rejected, not which, and forbids retries: all are dead letters, as the page says."""
    with trial(service, "otlp", refused_ids={POISON}) as one:
        one.record(COUNT)

        assert one.wait() == {"delivered": 0, "dead": COUNT}
        assert len(one.stub.requests) == 1
        assert "rejected 1 of 64 events, without saying which" in one.last_error()
        assert "all events of the request are dead letters" in format_text("otlp_logs")


def test_a_dataset_without_room_for_fields_refuses_and_loses_nothing(service: RunningService) -> None:
    """If an Axiom dataset is at its limit of fields, events with new fields are dead letters, and the others arrive."""
    with trial(service, "axiom", fields_max=7) as one:
        one.record(3)
        one.record(3, first=3, vendor={"a": 1, "b": 2, "c": 3})

        assert one.wait() == {"delivered": 3, "dead": 3}
        assert [state.state for state in one.states().values()] == ["delivered"] * 3 + ["dead_letter"] * 3
        assert set(one.stub.ids()) == {"e0", "e1", "e2"}


# ── failures inside, and answers that are lost ──


@pytest.mark.parametrize("name", [name for name in BATCHING if name != "otlp"])
def test_a_failure_inside_repeats_what_was_stored_at_most(name: str, service: RunningService) -> None:
    """A 500 after half of the events were stored loses none; that half is stored twice, unless the destination dedupes."""
    with trial(service, name) as one:
        one.stub.fail("partial_500", times=1)
        one.record(4)

        assert one.wait() == {"delivered": 4, "dead": 0}
        twice = set() if name in DEDUPING else {"e0", "e1"}
        assert Counter(one.stub.ids()) == Counter(one.events.keys()) + Counter(twice)
        assert {state.attempts for state in one.states().values()} == {2}


def test_otlp_is_not_asked_again_after_a_500(service: RunningService) -> None:
    """The protocol forbids a retry after a 500, so events are dead-lettered at once; a 503 is retried."""
    with trial(service, "otlp") as one:
        one.stub.fail("partial_500", times=1)
        one.record(4)
        assert one.wait() == {"delivered": 0, "dead": 4}
        assert {state.attempts for state in one.states().values()} == {1}
    with trial(service, "otlp") as one:
        one.stub.script(Reply(503))
        one.record(4)
        assert one.wait() == {"delivered": 4, "dead": 0}
        assert stored_once(one)


@pytest.mark.parametrize("name", BATCHING + SINGLE)
def test_a_lost_answer_repeats_unless_the_destination_dedupes(name: str, service: RunningService) -> None:
    """If the answer is lost after everything was stored, everything is sent again: at most one more copy, never one fewer."""
    with trial(service, name) as one:
        one.stub.fail("lose_answer", times=1)
        one.record(4)

        assert one.wait() == {"delivered": 4, "dead": 0}
        copies = Counter(one.stub.ids())
        assert set(copies) == set(one.events)
        repeated = sum(copies.values()) - len(copies)
        assert repeated == (0 if name in DEDUPING else 1 if name in SINGLE else 4)


# ── the test button ──


@pytest.mark.parametrize("name", CONFIGURED | OTHER_FORMS)
def test_a_test_event_arrives(name: str, service: RunningService) -> None:
    """For every destination of the guide the test button reports success, and its event is stored."""
    with trial(service, name) as one:
        told = one.test()

        assert told["ok"] is True
        assert len(one.stub.stored) == 1
        assert one.stub.ids()[0].startswith("test_")


@pytest.mark.parametrize(
    "name, reply, words",
    [
        (
            "elasticsearch",
            as_json(200, {"errors": True, "items": [{"create": {"status": 400, "error": {"type": "x"}}}]}),
            "answered 400 for the event",
        ),
        (
            "elasticsearch",
            as_json(200, {"errors": False, "items": [{"create": {"status": 200, "result": "noop"}}]}),
            "nothing was stored",
        ),
        (
            "elasticsearch",
            as_json(200, {"errors": False, "items": []}),
            "whether it stored the events is unknown",
        ),
        ("elasticsearch doc", as_json(200, {"result": "noop"}), "nothing was stored"),
        ("elasticsearch doc", as_json(200, {"result": "updated"}), "a document was replaced"),
        ("axiom", as_json(200, {"ingested": 0, "failed": 1, "failures": []}), "rejected 1 of 1 events"),
        ("honeycomb", as_json(200, [{"status": 400, "error": "too long"}]), "answered 400 for the event"),
        ("loki", Reply(260, b"ingestion blocked"), "answered 260"),
        ("loki", Reply(200), "answered 200"),
        (
            "otlp",
            as_json(200, {"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "no"}}),
            "rejected the event",
        ),
        ("splunk", Reply(200, b"ok"), "answered 200 without an answer from Splunk"),
        ("datadog", as_json(202, {"errors": [{"status": "400"}]}), "answered 202"),
        ("new-relic", Reply(200), "answered 200"),
        ("sentinel", as_json(200, {}), "answered 200"),
        ("better-stack", Reply(200), "answered 200"),
        ("cribl", Reply(200, b"<!doctype html><title>Sign in</title>"), "with a web page"),
    ],
)
def test_a_test_sees_through_a_hidden_failure(
    name: str, reply: Reply, words: str, service: RunningService
) -> None:
    """If a 2xx hides a failure, the test button reports the failure and its reason."""
    with trial(service, name) as one:
        one.stub.script(reply)

        told: dict[str, Any] = one.test()

        assert (told["ok"], told["status_code"]) == (False, reply.status)
        assert words in told["error"]
        assert one.stub.stored == []
