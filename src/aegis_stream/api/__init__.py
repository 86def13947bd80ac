"""The REST API: a handler decodes a request, calls one use case of `control`, and shows what it returns.

app.py            the routes put together, health, metrics
reception.py      each request by its head: ingest, or the routes
ingest.py         the hot path: events in
ingest_body.py    the body of an ingest request, cut into events
scopes.py         who may call what: one table, checked first
destination_types.py  the kinds of destinations
destinations.py   forwarding destinations
event_paths.py    ids of events in paths
replays.py        replays
deliveries.py     attempts
timeline.py       what a destination did over time
proof.py          proofs of a sealed log: its checkpoint, its keys, that an event is in it
evidence.py       what an auditor is handed, as one archive
tile_paths.py     tiles in paths
dead_letters.py   dead letters
events.py         the log: list, look up; preflight decisions
organizations.py  organizations and API keys
console_links.py  URLs that open the console of an organization once
origin.py         by which address a client came here
stream.py         how an organization stands, as server-sent events
fleet.py          the operator's view: all organizations, and the service
recent.py         the last requests of a key, while somebody looks
rates.py          ingest requests of the last while
validation.py     what is wrong with a call, in our words
requests.py       what handlers read of a request: body, times, limits, cursors
service.py        what the routes need
counts.py         counts of ingest, summed over API processes
standing.py       where these processes stand among those of other machines
problems.py       errors → status and problem+json
schemas/          JSON shapes ↔ domain
openapi.py        the OpenAPI document and its page; the next four fill it
docs.py           the errors of each call
examples.py       an example of each call
constraints.py    ranges and shapes
links.py          which answer leads to which call
"""
