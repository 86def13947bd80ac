"""The way of an event, from the request that brought it to the transaction that says it is delivered.

ingest.py    validate → stamp → append                                      steps 2–3
follow.py    due retries, then the next events after the cursor, then replays     step 4
deliver.py   encode → send → interpret → decide                             steps 5–7
settle.py    out-of-order outcomes → watermark + rows                       step 8
pacing.py    how much at once, and when to hold back: a pure controller
redrive.py   dead letter → pending again; replay of a range
"""
