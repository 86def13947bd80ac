"""One destination being served: what to send next, what is in flight, what it came to, what the store must know.

forwarder      the loop: wake → next work → attempt; ended → weigh → record
sources        due retries, the log after the cursor, replays                     step 4
pages          pages of the log, shared by the destinations of an organization
work           events that travel in one request
attempts       the attempts in flight                                             steps 5–7
confirmations  what a destination accepted and has yet to store
health         how a destination is doing, as people see it
"""
