"""One destination being served: what to send next, what is in flight, what it came to, what the store must know.

forwarder      the loop: wake → agenda → attempt; ended → weigh → account
forwarding     what the forwarders of a worker share
agenda         what goes next                                                     step 4
sources        the log after the cursor, replayed ranges, due retries
pages          pages of the log, shared by the destinations of an organization
read_ahead     when to read what will be needed next
work           events that travel in one request
attempts       the attempts in flight                                             steps 5–7
answers        which answers to failed attempts are kept for people
ended          how an attempt may end
confirmations  what a destination accepted and has yet to store
weigh          what an attempt came to, event by event; pure
learning       what pacing, recovery and health learn from it
recovery       when dead letters are redriven by themselves; pure
account        what the destination owes the store                                step 8
health         how a destination is doing, as people see it
alarm          one timer
"""
