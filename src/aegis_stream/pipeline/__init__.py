"""What happens to an event, step by step: pure decisions, and the parts that delivery and API share.

ingest         validate → stamp → append                                          steps 2–3
quotas         what organizations may record: stored bytes, bytes a second        step 3
route          where a destination's requests go
attempt        encode → compress → send → interpret: one attempt                  steps 5–7
compress       smaller request bodies
token_sender   a sender that adds OAuth2 tokens; token_answer reads the endpoint's answers
settle         outcomes in any order → watermark and rows                         step 8
seal           when a log is sealed, and what a seal is
settler        the outcomes of all destinations, stored together                  step 8
pacing         how much at once, and when to hold back
redrive        which range of the log a replay covers
"""
