"""`aegis …`: arguments → settings → one call into wiring, or one REST call. No logic.

main.py          the command and its groups; errors → one line and an exit status
service.py       serve, worker, demo, receiver
tenants.py       org, key: on the store itself
remote.py        destination, dead-letter, event: through the REST API
output.py        what a person sees, what --json prints
"""
