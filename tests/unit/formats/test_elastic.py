"""Promises of elastic_bulk, elastic_doc and elastic_create: the id makes an event unique, and every item is read."""

import hashlib
import json
import re

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Response
from aegis_stream.domain.event import EVENT_ID_CHARACTERS_MAX
from aegis_stream.formats import REGISTRY, with_query
from aegis_stream.formats.elastic import ANSWER_BYTES_MAX, EVENTS_MAX, interpret_bulk, interpret_document
from aegis_stream.formats.elastic_template import index_template
from support.formats import make_event, stored

CREATED = {"create": {"result": "created", "status": 201}}
CONFLICT = {"create": {"status": 409, "error": {"type": "version_conflict_engine_exception"}}}
MALFORMED = {"create": {"status": 400, "error": {"type": "document_parsing_exception"}}}
BUSY = {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception"}}}


def answer_of(*items, status=200, **members):
    """Return an answer of `_bulk` as Elasticsearch writes it."""
    failed = any(value["status"] >= 300 for one in items for value in one.values())
    body = {"errors": failed, "took": 3, "items": list(items)} | members
    return Response(status, json.dumps(body, separators=(",", ":")).encode(), 100)


# ── requests ──


def test_an_event_is_created_under_its_own_id():
    """Each event is an action line with its id and a line of its own, and the body ends with a newline."""
    body = b'{"@timestamp":"2026-05-15T10:33:21Z","event":{"id":"a"},\n "organization":{"id":"org_abc"}}'

    request = REGISTRY["elastic_bulk"].encode([body, stored(make_event("b"))])

    assert request.body == (
        b'{"create":{"_id":"a"}}\n{"@timestamp":"2026-05-15T10:33:21Z","event":{"id":"a"},  "organization":{"id":"org_abc"}}\n'
        b'{"create":{"_id":"b"}}\n' + stored(make_event("b")) + b"\n"
    )
    assert request.content_type == "application/x-ndjson"


@pytest.mark.parametrize(
    "event_id, kept",
    [
        ("a", True),
        ('quo"te\\', True),
        ("x" * EVENT_ID_CHARACTERS_MAX, True),
        ("é" * 256, True),  # 512 bytes, 1,536 when spelled with escapes
        ("é" * 255 + "€", False),  # 513 bytes
        ("😀" * 256, False),
    ],
    ids=["short", "quoted", "256 letters", "512 bytes", "513 bytes", "1024 bytes"],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_id_that_is_too_long_is_hashed(event_id, kept, ascii_only):
    """An id of more than 512 bytes becomes its SHA-256, the same each time; any other stays as it is."""
    body = json.dumps(make_event(event_id), ensure_ascii=ascii_only).encode()

    action, source = REGISTRY["elastic_bulk"].encode([body]).body.splitlines()

    expected = event_id if kept else hashlib.sha256(event_id.encode()).hexdigest()
    assert json.loads(action) == {"create": {"_id": expected}}
    assert json.loads(source)["event"]["id"] == event_id


@pytest.mark.parametrize(
    "event_id, suffix",
    [("pflt_abc", "/pflt_abc"), ("a/b?c#d e", "/a%2Fb%3Fc%23d%20e"), ("%2F", "/%252F"), ("é", "/%C3%A9")]
    + [(dots, "/" + hashlib.sha256(dots.encode()).hexdigest()) for dots in (".", "..")],
)
def test_a_single_document_has_its_id_in_the_path(event_id, suffix):
    """With elastic_create the id follows the URL's path, and no character of it can leave its place."""
    request = REGISTRY["elastic_create"].encode([stored(make_event(event_id))])

    assert (request.path_suffix, request.content_type) == (suffix, "application/json")


def test_a_document_without_an_id_travels_as_it_is_stored():
    """With elastic_doc the body is the stored bytes themselves."""
    body = stored(make_event())

    request = REGISTRY["elastic_doc"].encode([body])

    assert request.body is body
    assert request.path_suffix == ""


def test_the_url_asks_for_what_is_read_and_nothing_else():
    """The reasons of errors, which can repeat an event, are left out of the answer; a user's own choice is kept."""
    format_ = REGISTRY["elastic_bulk"]

    assert with_query(format_, "/logs-a-b/_bulk") == (
        "/logs-a-b/_bulk?filter_path=errors,items.*.status,items.*.result,items.*.failure_store"
        ",items.*.error.type,items.*.error.caused_by.type"
    )
    assert with_query(format_, "/_bulk?filter_path=items.*.status") == "/_bulk?filter_path=items.*.status"
    assert with_query(format_, "/_bulk?require_data_stream=true").startswith(
        "/_bulk?require_data_stream=true&filter_path="
    )


@pytest.mark.parametrize("item", [CREATED, CONFLICT, MALFORMED, BUSY])
def test_an_answer_about_the_largest_batch_is_read_whole(item):
    """With as many events as fit into a request, the answer fits into what is read of it, also when all fail."""
    longest = json.loads(json.dumps(item))
    longest["create"]["failure_store"] = "not_enabled"
    if "error" in longest["create"]:
        longest["create"]["error"]["caused_by"] = {"type": "max_bytes_length_exceeded_exception"}

    assert len(answer_of(*[longest] * EVENTS_MAX).body) < ANSWER_BYTES_MAX


# ── answers ──


@pytest.mark.parametrize(
    "item, delivered, scope, permanent, fix_needed, overload",
    [
        ({"status": 201, "result": "created"}, True, None, False, False, False),
        ({"status": 201}, True, None, False, False, False),  # VictoriaLogs
        ({"status": 200, "result": "created"}, True, None, False, False, False),
        ({"status": 200, "result": "updated"}, True, None, False, False, False),
        (CONFLICT["create"], True, None, False, False, False),
        ({"status": 409}, True, None, False, False, False),
        ({"status": 409, "error": {"type": "other"}}, False, FailureScope.DESTINATION, False, False, False),
        ({"status": 200}, False, FailureScope.EVENT, True, False, False),
        ({"status": 200, "result": "noop"}, False, FailureScope.EVENT, True, False, False),
        (MALFORMED["create"], False, FailureScope.EVENT, True, False, False),
        (
            {"status": 400, "error": {"type": "illegal_argument_exception"}},
            False,
            FailureScope.EVENT,
            True,
            False,
            False,
        ),
        ({"status": 400, "error": "text of an old version"}, False, FailureScope.EVENT, True, False, False),
        ({"status": 400, "error": None}, False, FailureScope.EVENT, True, False, False),
        ({"status": 413, "error": {"reason": "too long"}}, False, FailureScope.EVENT, True, False, False),
        (BUSY["create"], False, FailureScope.DESTINATION, False, False, True),
        ({"status": 500, "error": {"type": None}}, False, FailureScope.DESTINATION, False, False, False),
        (
            {"status": 503, "error": {"type": "unavailable_shards_exception"}},
            False,
            FailureScope.DESTINATION,
            False,
            False,
            True,
        ),
        (
            {"status": 403, "error": {"type": "cluster_block_exception"}},
            False,
            FailureScope.DESTINATION,
            False,
            True,
            False,
        ),
        (
            {"status": 404, "error": {"type": "index_not_found_exception"}},
            False,
            FailureScope.DESTINATION,
            False,
            True,
            False,
        ),
        ({"status": 301}, False, FailureScope.EVENT, True, False, False),
        ({"status": 201, "result": "noop"}, False, FailureScope.EVENT, True, False, False),
        *(
            (
                {"status": 400, "error": {"type": f"{kind}_exception"}},
                False,
                FailureScope.DESTINATION,
                False,
                True,
                False,
            )
            for kind in ("index_closed", "invalid_index_name", "validation")
        ),
        (
            {"status": 429, "error": {"type": "cluster_block_exception"}},
            False,
            FailureScope.DESTINATION,
            False,
            False,
            True,
        ),
        (
            {"status": 500, "error": {"type": "fail_processor_exception"}},
            False,
            FailureScope.EVENT,
            True,
            False,
            False,
        ),
        (
            {"status": 500, "error": {"type": "ingest_processor_exception"}},
            False,
            FailureScope.DESTINATION,
            False,
            False,
            False,
        ),
    ],
)
def test_an_item_decides_about_its_event(item, delivered, scope, permanent, fix_needed, overload):
    """201 and 409 are delivered, 429 and 5xx are retried; an event that the mapping rejects or a pipeline drops is dead-lettered."""
    verdicts = interpret_bulk(answer_of(CREATED, {"create": item}, CREATED), 3)

    assert verdicts == interpret_bulk(answer_of(CREATED, {"index": item}, CREATED), 3)
    if verdicts == Accepted(201):
        assert delivered
        return
    first, verdict, last = verdicts
    assert (first, last) == (Accepted(201), Accepted(201))
    assert isinstance(verdict, Accepted) == delivered
    if not delivered:
        assert (verdict.scope, verdict.permanent) == (scope, permanent)
        assert (verdict.fix_needed, verdict.overload) == (fix_needed, overload)
        assert verdict.status_code == item["status"]


@pytest.mark.parametrize(
    "error, said",
    [
        ({"type": "mapper_parsing_exception"}, "a field does not fit the mapping"),
        (
            {"type": "mapper_parsing_exception", "caused_by": {"type": "illegal_argument_exception"}},
            "a field does not fit the mapping",
        ),
        ({"type": "illegal_argument_exception"}, "too many fields"),
        (
            {
                "type": "illegal_argument_exception",
                "caused_by": {"type": "max_bytes_length_exceeded_exception"},
            },
            "more than 32766 bytes",
        ),
        ({"type": "illegal_argument_exception", "caused_by": None}, "too many fields"),
        ({"type": "s3cret_exception", "caused_by": {"type": "s3cret"}}, "the event was rejected"),
        (
            {"type": "mapper_parsing_exception", "reason": "value 's3cret'"},
            "a field does not fit the mapping",
        ),
    ],
)
@pytest.mark.parametrize("interpret", ["bulk", "document"])
def test_a_refusal_says_why_in_our_words(interpret, error, said):
    """The type of an error and of its cause selects the message, which contains no text of the destination."""
    if interpret == "bulk":
        (verdict,) = interpret_bulk(answer_of({"create": {"status": 400, "error": error}}), 1)
    else:
        body = json.dumps({"error": error, "status": 400}).encode()
        verdict = interpret_document(Response(400, body, 100), 1)

    assert (verdict.scope, verdict.permanent, verdict.status_code) == (FailureScope.EVENT, True, 400)
    assert "s3cret" not in verdict.message
    if not (interpret == "document" and "s3cret" in error["type"]):  # there the status is all that is known
        assert said in verdict.message


def test_a_batch_that_was_taken_whole_has_one_verdict():
    """If all events are created, there is one verdict for all, which is cheapest for the pipeline."""
    assert interpret_bulk(answer_of(*[CREATED] * 500), 500) == Accepted(201)


@pytest.mark.parametrize("errors", [True, False])
def test_items_decide_and_not_the_summary(errors):
    """`errors` is ignored: false hides events in the failure store, and true says nothing about the other events."""
    verdicts = interpret_bulk(answer_of(CREATED, MALFORMED, errors=errors), 2)

    assert isinstance(verdicts[0], Accepted)
    assert isinstance(verdicts[1], Failure)


def test_the_failure_store_is_a_delivery_with_a_warning():
    """An event in the failure store is delivered, with a warning that says where it is."""
    used = {"create": {"result": "created", "failure_store": "used", "status": 201}}

    verdicts = interpret_bulk(answer_of(CREATED, used), 2)

    assert verdicts[0].warning is None
    assert "failure store" in verdicts[1].warning


@pytest.mark.parametrize("spaces", [(",", ":"), (", ", " : ")])
@pytest.mark.parametrize("items", [[CREATED] * 4, [CONFLICT, CREATED, MALFORMED, BUSY]])
def test_of_a_cut_answer_the_whole_items_count(spaces, items):
    """Of a truncated answer, events with a complete item have their verdicts, and the others are unjudged."""
    body = json.dumps({"took": 3, "errors": True, "items": items}, separators=spaces).encode()
    whole = interpret_bulk(Response(200, body, 100), 4)
    whole = whole if isinstance(whole, list) else [whole] * 4
    known = 0

    for end in range(len(body)):
        cut = Response(200, body[:end], 100)
        verdicts = interpret_bulk(cut, 4)
        if isinstance(verdicts, Failure):
            assert known == 0  # not a single item came whole
            continue
        verdicts = verdicts if isinstance(verdicts, list) else [verdicts] * 4
        settled = [one for one in verdicts if isinstance(one, Accepted) or not one.unjudged]
        assert settled == whole[: len(settled)]
        assert len(settled) >= known
        assert all(isinstance(one, Failure) for one in verdicts[len(settled) :])
        known = len(settled)

    assert known == 4


def test_a_cut_answer_about_an_old_batch_makes_progress():
    """A batch that is stored already is settled after a few answers, even if each is truncated."""
    answers, left = 0, 500
    while left and answers < 20:
        body = answer_of(*[CONFLICT] * left).body[: 16 * 1024]
        verdicts = interpret_bulk(Response(200, body, 100), left)
        verdicts = verdicts if isinstance(verdicts, list) else [verdicts] * left
        left = sum(isinstance(one, Failure) and one.unjudged for one in verdicts)
        answers += 1

    assert (left, answers) == (0, 3)


@pytest.mark.parametrize(
    "count, items",
    [(2, []), (2, [CREATED] * 3), (1, [CREATED, MALFORMED])],
)
def test_an_answer_about_other_events_delivers_nothing(count, items):
    """If an answer has no items, or more than there were events, no event counts as delivered, also if it is truncated."""
    answer = answer_of(*items)

    for body in (answer.body, answer.body[:-1], answer.body + b"}"):
        verdict = interpret_bulk(Response(200, body, 100), count)
        assert isinstance(verdict, Failure)
        assert not verdict.permanent


def test_events_without_an_item_are_not_known():
    """Fewer items than events: the rest may be sent again at once."""
    verdicts = interpret_bulk(answer_of(CREATED, CREATED), 3)

    assert [isinstance(one, Accepted) for one in verdicts] == [True, True, False]
    assert verdicts[2].unjudged


@pytest.mark.parametrize(
    "status, body, scope, fix_needed",
    [
        (
            400,
            b'{"error":{"type":"illegal_argument_exception"},"status":400}',
            FailureScope.DESTINATION,
            True,
        ),
        (400, b"blocked by a firewall", FailureScope.EVENT, False),
        (401, b'{"error":{"type":"security_exception"}}', FailureScope.DESTINATION, True),
        (403, b'{"error":{"type":"security_exception"}}', FailureScope.DESTINATION, True),
        (403, b'{"error":{"type":"cluster_block_exception"}}', FailureScope.DESTINATION, True),
        (400, b'{"error":{"type":"mapper_parsing_exception"}}', FailureScope.DESTINATION, True),
        (404, b'{"error":{"type":"index_not_found_exception"}}', FailureScope.DESTINATION, True),
        (413, b"", FailureScope.EVENT, False),
        (429, b'{"error":{"type":"es_rejected_execution_exception"}}', FailureScope.DESTINATION, False),
        (501, b"", FailureScope.DESTINATION, False),
        (503, b"", FailureScope.DESTINATION, False),
    ],
)
def test_a_request_that_is_refused_whole(status, body, scope, fix_needed):
    """A 400 in Elasticsearch's own words is about the URL; 413 and a firewall's 400 are about the events."""
    verdict = interpret_bulk(Response(status, body, 100), 500)

    assert (verdict.scope, verdict.fix_needed, verdict.status_code) == (scope, fix_needed, status)


def test_a_blocked_cluster_is_no_wrong_credential():
    """A 403 because of a block says so, instead of the advice to check the credential."""
    blocked = Response(403, b'{"error":{"type":"cluster_block_exception"},"status":403}', 100)

    for verdict in (interpret_bulk(blocked, 500), interpret_document(blocked, 1)):
        assert "blocked for writing" in verdict.message


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_is_asked_for_is_kept(status):
    """The type of an error does not override the Retry-After of an answer."""
    busy = Response(status, b'{"error":{"type":"es_rejected_execution_exception"}}', 100, retry_after="7")

    for verdict in (interpret_bulk(busy, 500), interpret_document(busy, 1)):
        assert (verdict.retry_after_s, verdict.overload) == (7.0, True)


@pytest.mark.parametrize(
    "status, body, delivered, hint",
    [
        (201, b'{"result":"created"}', True, None),
        (200, b'{"result":"created"}', True, None),
        (201, b'{"result":"created","failure_store":"used"}', True, "failure store"),
        (409, b'{"error":{"type":"version_conflict_engine_exception"}}', True, None),
        (409, b"", True, None),
        (200, b'{"result":"noop"}', False, "pipeline"),
        (200, b'{"result":"updated"}', False, "replaced"),
        (201, b"", False, "URL"),
        (201, b'{"result":', False, "truncated"),
        (400, b'{"error":{}}', False, "could not read"),
        (400, b'{"error":{"type":"index_closed_exception"}}', False, "open it"),
        (500, b'{"error":{"type":"fail_processor_exception"}}', False, "pipeline rejects"),
        (429, b"", False, "rate"),
    ],
)
def test_a_single_document_is_judged_by_its_result(status, body, delivered, hint):
    """`created` and a conflict with the event's own id are delivered; a dropped, replaced or unreadable result is not."""
    verdict = interpret_document(Response(status, body, 100), 1)

    assert isinstance(verdict, Accepted) == delivered
    assert hint is None or hint in (verdict.warning if delivered else verdict.message)


# ── the index template ──


def mappings_of(template):
    """Return the mappings of a template."""
    return template["template"]["mappings"]


@pytest.mark.parametrize("flavor, kind", [("elasticsearch", "flattened"), ("opensearch", "flat_object")])
def test_objects_of_any_shape_are_one_field(flavor, kind):
    """The template maps each object of finding types or vendor keys as one field, however many keys it has."""
    template = index_template(flavor=flavor)
    mappings = mappings_of(template)
    by_name = {name: rule for one in mappings["dynamic_templates"] for name, rule in one.items()}

    assert mappings["properties"]["aegis"]["properties"]["finding_counts_by_type"]["type"] == kind
    assert by_name["other_objects"]["mapping"]["type"] == kind
    assert template["template"]["settings"]["index"]["mapping"]["ignore_malformed"] is True
    assert json.loads(json.dumps(template)) == template


def test_the_objects_of_the_schema_keep_their_fields():
    """The first rule matches objects of the schema by their complete path, and no vendor object with a similar name."""
    ((name, rule),) = mappings_of(index_template())["dynamic_templates"][0].items()

    assert (name, rule["mapping"]) == ("objects_of_the_schema", {"type": "object"})
    taken = re.compile(rule["path_match"])
    assert all(taken.fullmatch(path) for path in ("user", "user.target", "http.response", "source"))
    assert not any(
        taken.fullmatch(path) for path in ("users", "okta.user", "user.attributes", "httpXresponse")
    )


def test_only_elasticsearch_ignores_what_exceeds_the_limit_of_fields():
    """The OpenSearch template has no setting that OpenSearch would reject as unknown."""
    limits = {
        flavor: index_template(flavor=flavor)["template"]["settings"]["index"]["mapping"].get("total_fields")
        for flavor in ("elasticsearch", "opensearch")
    }

    assert limits == {"elasticsearch": {"ignore_dynamic_beyond_limit": True}, "opensearch": None}


def test_the_template_is_for_data_streams_of_ecs_events():
    """The template is for data streams of the given names, has priority over the vendor's, and maps the fields that all events have."""
    template = index_template("logs-mine-*")
    properties = mappings_of(template)["properties"]

    assert template["index_patterns"] == ["logs-mine-*"]
    assert template["data_stream"] == {}
    assert template["priority"] > 200
    # A data stream refuses a template that would ignore a malformed @timestamp.
    assert (properties["@timestamp"]["type"], properties["@timestamp"]["ignore_malformed"]) == ("date", False)
    assert properties["event"]["properties"]["id"]["type"] == "keyword"
    assert properties["organization"]["properties"]["id"]["type"] == "keyword"


def test_templates_do_not_share_their_parts():
    """A caller may change its template without changing the next one."""
    first = index_template()
    first["template"]["mappings"]["properties"]["event"]["properties"]["id"]["type"] = "wildcard"
    first["template"]["mappings"]["dynamic_templates"][1]["other_objects"]["mapping"]["type"] = "object"

    assert mappings_of(index_template())["properties"]["event"]["properties"]["id"]["type"] == "keyword"
    properties = mappings_of(first)["properties"]["aegis"]["properties"]
    assert properties["finding_counts_by_type"]["type"] == "flattened"


@pytest.mark.parametrize("name", ["elastic_bulk", "elastic_doc", "elastic_create"])
@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("2026-05-15T10:33:21Z", "2026-05-15T10:33:21Z"),
        ("2026-05-15T10:33:21.123456789-08:00", "2026-05-15T10:33:21.123456789-08:00"),
        ("2026-05-15 10:33:21+0000", "2026-05-15T10:33:21+00:00"),
        ("2026-05-15t10:33:21z", "2026-05-15T10:33:21Z"),
        ("2026-05-15T10:33:21.1234567890Z", "2026-05-15T10:33:21.123456789Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_is_sent_as_date_fields_read_it(name, text, sent):
    """A time in a spelling that a date field cannot read is sent in one that it can; all other bytes stay the same."""
    body = b'{"@timestamp":"%b","event":{"id":"a"},"organization":{"id":"org_abc"},"n":1.50,"s":"\\u00e9"}'

    request = REGISTRY[name].encode([body % text.encode()])

    assert body % sent.encode() in request.body
