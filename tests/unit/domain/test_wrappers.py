"""Promises of `wrappers`: a document of many events is noticed, an event is not taken for one, and items keep their bytes."""

import json

import pytest

from aegis_stream.domain.wrappers import Wrapped, unwrapped, wrapped


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"Records": [{"eventID": "1"}, {"eventID": "2"}]}, Wrapped("Records", 2)),
        (
            {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [{"auditID": "1"}]},
            Wrapped("items", 1),
        ),
        ({"records": [{"time": "x"}] * 3}, Wrapped("records", 3)),
        ({"eventId": "h", "data": {"events": [{"uuid": "1"}, {"uuid": "2"}]}}, Wrapped("data.events", 2)),
        ({"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1"}]}, Wrapped("logEvents", 1)),
        ({"@odata.context": "x", "value": [{"id": "1"}]}, Wrapped("value", 1)),
        ({"event": {"id": "made"}, "Records": [{"a": 1}]}, Wrapped("Records", 1)),
        ({"event.id": "made", "Records": [{"a": 1}]}, Wrapped("Records", 1)),
        ({"Records": []}, None),
        ({"Records": ["a", {"b": 1}]}, None),
        ({"Records": {"a": 1}}, None),
        ({"data": {"event": [{"a": 1}]}}, None),
        ({"@timestamp": "2026-05-15T10:33:21Z", "items": [{"sku": 1}]}, None),
        ({"event": {"id": "a", "action": "order"}, "items": [{"sku": 1}]}, None),
        ({"event.dataset": "shop", "items": [{"sku": 1}]}, None),
        ({"order": {"items": [{"sku": 1}]}}, None),
        ({"message": '"Records": [{'}, None),
    ],
)
def test_a_document_of_many_events_is_noticed(document, found):
    """An object without an envelope and with objects at a place where vendors have them is a wrapper; other objects are not."""
    for indent in (None, 2):
        assert wrapped(json.dumps(document, indent=indent).encode()) == found


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'{"Records":[',
        b'{"Records":[{}]',
        b'[{"Records":[{}]}]',
        b'{"event":1,"Records":[{}]}',
        b'{"data":{"events":[{]}}',
    ],
)
def test_what_is_no_document_is_no_wrapper(raw):
    """Bytes that are no JSON object, or a truncated one, are no wrapper, and nothing is raised."""
    assert wrapped(raw) is None


def test_items_keep_their_bytes():
    """An item is taken out of its document byte for byte."""
    assert unwrapped(b'{"a":{"b":[ {"x": 1.50} ,{"y":"\\u00e9"}]}}', ("a", "b")) == [
        b'{"x": 1.50}',
        b'{"y":"\\u00e9"}',
    ]
    assert unwrapped(b'{"a":{"b":1}}', ("a", "b")) is None
    assert unwrapped(b'{"a":[]}', ("a",)) == []
    assert unwrapped(b'{"a":[]}', ("b",)) is None
    assert unwrapped(b'{"a":[]}', ("a", "b")) is None
