"""The command `aegis`: each command reads its options, makes one call into wiring or the REST API, and prints the result.

main.py              the command and its groups
service.py           serve, worker, receiver, demo
proof.py             proof: how logs are sealed
tenants.py           org, key: on the store itself
on_store.py          runs a use case on the store itself
console.py           console: links that open it, on the store itself
key_requests.py      key requests
vault.py             vault: on the store itself
backup.py            backup, restore: copies of the store
database.py          database: moves an installation to another database
data_directory.py    refuses commands that run in the wrong directory
doctor.py            doctor
checks.py            its checks on this machine
checks_running.py    its check for a service on files that are gone
checks_store.py      its checks on the store: database, keys, workers, deliveries
checks_proof.py      its checks on sealed logs and the sealer
checks_egress.py     its checks beyond this machine
remote.py            what the commands have in common that call the REST API
destinations.py      destination
tested.py            what a test told, as a ladder
destination_body.py  from the options of `destination add` to the API's JSON
headers.py           headers, from options, a file or the environment
oauth2.py            OAuth 2.0 client credentials, likewise
templates.py         destination template
types.py             destination types
dead_letters.py      dead-letter
deliveries.py        delivery
timeline.py          destination timeline
event_list.py        event list; how an event is printed
events.py            event send, event tail
status.py            status
verify.py            verify: offline, on exported files
sending.py           a file of events as ingest requests: batches, retries, counts
input_advice.py      what to do with a file that is not one JSON object per line
client.py            client of the REST API
demo.py              demo
demo_context.py      what its steps use: screen, folder, events
demo_steps.py        its steps that call the API
demo_next.py         the commands that it proposes at the end
demo_events.py       its built-in events
demo_receiver.py     its receiver
demo_copy.py         the copy that it keeps for the verifier
demo_proof.py        its steps that verify that copy
demo_service.py      its service, a child process
demo_nodes.py        the demonstration of two nodes on one PostgreSQL
demo_postgres.py     the private PostgreSQL of that one
screen.py            its output, with shortened secrets
supervised.py        a command as a child process that ends with its parent
values.py            the kinds of values that options take
files.py             files that options name: small texts to read, results to write
output.py            tables for people, JSON for programs
"""
