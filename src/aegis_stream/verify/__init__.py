"""Verifies offline that exported events are complete and unaltered: `aegis verify`, and dist/aegis-verify.pyz by itself.

It imports only the standard library and runs on Python 3.9 and newer. An export is read twice: first the checkpoint events are put
aside and followed from root to root, then each event is looked up among the leaves that they prove.

__main__.py   the command and its options
judge.py      the two readings; what becomes of each event
gather.py     first reading: checkpoint events, notes, announced keys
log.py        one log while it is judged: what is missing, altered, not in it
chain.py      from checkpoint to checkpoint: which leaves are proven, where gaps are
proven.py     the proven leaves; where an event stands among them, and how strong that evidence is
parts.py      checkpoint events, put aside on disk
columns.py    compact tables for many millions of hashes
manifest.py   what a checkpoint event says
note.py       signed notes and keys
ed25519.py    signatures
tree.py       the Merkle tree
content.py    strict JSON, canonical JSON and the content digest
rebuild.py    undoes what the formats of destinations do to an event
spell.py      spellings in which a tool may have written an event anew
fields.py     fields and times of an event, nested or flattened
read.py       files, standard input, gzip; lines and documents
walk.py       where the parts of a JSON text begin and end
envelopes.py  recognizes what SIEMs put around events
shapes.py     cuts events out of it
demands.py    what the auditor asks for
findings.py   what was found, and the exit status
report.py     says it, for people and as JSON
"""
