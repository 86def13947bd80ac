"""The REST API: requests in, use cases called, problem+json out.

app.py            puts the routes together; the one map from our errors to HTTP
ingest.py         the hot path: events in, as a bare ASGI handler
destinations.py   forwarding destinations, test, pause, replay, deliveries
dead_letters.py   what used up its attempts
events.py         the log for people, preflight decisions
organizations.py  organizations and API keys
schemas.py        JSON shapes ↔ domain
"""
