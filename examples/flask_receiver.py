"""A Flask application that receives audit events from Aegis Audit Stream.

    export RECEIVER_BEARER=…           # the destination's auth header: Authorization: Bearer …
    export RECEIVER_HMAC_KEY=…         # optional: the key of X-Aegis-Signature
    gunicorn --chdir examples --threads 8 "flask_receiver:create_app()"

It starts only if at least one secret is set. It answers 202 when all events of a request are handled, 401 to unknown
senders, 400 to an invalid body, and 500 or 503 when it cannot handle an event: then the sender retries.
"""

import os

from flask import Flask, request
from flask.typing import ResponseReturnValue

from aegis_stream.receiver import (
    BODY_BYTES_MAX,
    BusyError,
    Event,
    Inbox,
    MalformedBodyError,
    Verifier,
    event_id,
    is_test,
    parse_body,
)


def create_app() -> Flask:
    """Create the application from the environment.

    Raises: ValueError when no secret is set, so that a forgotten one is noticed at the start.
    """
    hmac_key = os.environ.get("RECEIVER_HMAC_KEY")
    verifier = Verifier(
        bearer=os.environ.get("RECEIVER_BEARER"),
        hmac_key=hmac_key.encode() if hmac_key is not None else None,
    )
    # For one process only. With several, use a unique index on event.id in your database instead of the inbox.
    inbox = Inbox()

    app = Flask(__name__)
    app.logger.setLevel("INFO")
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX  # Flask answers 413 to a larger body

    @app.post("/audit-events")
    def receive() -> ResponseReturnValue:
        body = request.get_data()  # the raw bytes, because they are signed
        verdict = verifier.verify(request.headers, body)
        if not verdict:
            return {"error": verdict.reason}, 401
        events = parse_body(body, request.content_type)
        fresh = 0
        for event in events:
            with inbox.once(event) as first_time:  # remembered only if the block ends without an exception
                if first_time:
                    handle_event(app, event)
                    fresh += 1
        return {"accepted": fresh, "duplicates": len(events) - fresh}, 202

    @app.errorhandler(MalformedBodyError)
    def malformed(error: MalformedBodyError) -> ResponseReturnValue:
        return {"error": str(error)}, 400

    @app.errorhandler(BusyError)
    def busy(_error: BusyError) -> ResponseReturnValue:
        return {"error": "another request is handling this event"}, 503

    return app


def handle_event(app: Flask, event: Event) -> None:
    """Handle a new event: replace this with your own work. After an exception the sender retries the event."""
    if is_test(event):
        app.logger.info("test event %r: the stream works", event_id(event))
    else:
        app.logger.info("audit event %r", event_id(event))
