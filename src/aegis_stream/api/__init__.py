"""The REST API: a handler decodes a request, calls one use case of `control`, and shows what it returns.

app.py            the routes put together, health, metrics
reception.py      each request by its head: ingest, or the routes
ingest.py         the hot path: events in
ingest_body.py    the body of an ingest request, cut into events
scopes.py         who may call what: one table, checked first
destinations.py   forwarding destinations
replays.py        replays
deliveries.py     attempts
dead_letters.py   dead letters
events.py         the log: list, look up; preflight decisions
organizations.py  organizations and API keys
validation.py     what is wrong with a call, in our words
requests.py       what handlers read of a request: body, times, limits, cursors
service.py        what the routes need
counts.py         counts of ingest, summed over API processes
problems.py       errors → status and problem+json
schemas/          JSON shapes ↔ domain
openapi.py        the OpenAPI document and its page; the next four fill it
docs.py           the errors of each call
examples.py       an example of each call
constraints.py    ranges and shapes
links.py          which answer leads to which call
"""
