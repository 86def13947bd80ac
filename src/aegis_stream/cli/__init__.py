"""`aegis …`: arguments → settings → one call into wiring, or one REST call. No logic.

main.py            the command and its groups; errors → one line and an exit status
service.py         serve, worker, receiver, demo
tenants.py         org, key: on the store itself
vault.py           vault: likewise
doctor.py          doctor: runs the checks and prints what they find
checks*.py        the checks: on this machine, and beyond it
remote.py          destination: through the REST API, as the next two
dead_letters.py    dead-letter
events.py          event send, event tail
sending.py         batches, repeats and progress of event send
client.py          the REST client of all of them
demo*.py           everything at once on this machine
screen.py          what the demo shows
supervised.py      a command as a child that ends with its parent
output.py          what a person sees, what --json prints
"""
