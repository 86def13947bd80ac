"""A Flask application that receives audit events from Aegis Audit Stream.

    export RECEIVER_BEARER=…           # the destination's auth header: Authorization: Bearer …
    export RECEIVER_HMAC_KEY=…         # optional: the key of X-Aegis-Signature
    gunicorn --chdir examples --threads 8 "flask_receiver:create_app()"

It starts only when at least one secret is set. It answers 202 when all events of a request are taken care of, 401 to
strangers, 400 to what is not an event, and 500 or 503 when it could not do its work: then the events come again.
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
    """Make the application from the environment.

    Raises: ValueError when no secret is set, so that a forgotten one is found at the start and not by a stranger.
    """
    hmac_key = os.environ.get("RECEIVER_HMAC_KEY")
    verifier = Verifier(
        bearer=os.environ.get("RECEIVER_BEARER"),
        hmac_key=hmac_key.encode() if hmac_key is not None else None,
    )
    # One process only. With more, let a unique index on event.id in your database take the place of the inbox.
    inbox = Inbox()

    app = Flask(__name__)
    app.logger.setLevel("INFO")
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX  # Flask answers 413 above it

    @app.post("/audit-events")
    def receive() -> ResponseReturnValue:
        body = request.get_data()  # the raw bytes: the signature covers these, not their parsed form
        verdict = verifier.verify(request.headers, body)
        if not verdict:
            return {"error": verdict.reason}, 401
        events = parse_body(body, request.content_type)
        fresh = 0
        for event in events:
            with inbox.once(event) as first_time:  # remembered only if the block ends without an exception
                if first_time:
                    take_care_of(app, event)
                    fresh += 1
        return {"accepted": fresh, "duplicates": len(events) - fresh}, 202

    @app.errorhandler(MalformedBodyError)
    def malformed(error: MalformedBodyError) -> ResponseReturnValue:
        return {"error": str(error)}, 400

    @app.errorhandler(BusyError)
    def busy(_error: BusyError) -> ResponseReturnValue:
        return {"error": "this event is being handled by another request"}, 503

    return app


def take_care_of(app: Flask, event: Event) -> None:
    """Do with a new event what your application is there for. An exception here makes the sender try again."""
    if is_test(event):
        app.logger.info("test event %r: the stream works", event_id(event))
    else:
        app.logger.info("audit event %r", event_id(event))
