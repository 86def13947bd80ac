"""The REST API: requests in, use cases called, problem+json out.

app.py            the application: hot path, routes, health, metrics
connection.py     one client's connection: limits on heads, idle and slow clients
ingest.py         the hot path: events in, as a bare ASGI handler
scopes.py         who may call what: one table, checked first
destinations.py   forwarding destinations: create, change, test, pause, replay
dead_letters.py   dead letters: list, redrive, purge
events.py         the log: list, look up; preflight decisions
organizations.py  organizations and API keys
testing.py        the test event
service.py        what the routes share
audit.py          administrative actions as events
counts.py         counts of ingest, summed over API processes
problems.py       errors → status and problem+json
schemas.py        JSON shapes ↔ domain
openapi.py        the OpenAPI document and its page; the next four fill it
docs.py           the errors of each call
examples.py       an example of each call
constraints.py    ranges and shapes
links.py          which answer leads to which call
"""
