"""The composition root: the only place that picks a database, the real clock and the real source of random numbers.

A module for each program or need, so that a process imports only what it runs; nothing is imported here:

process         the clock, random numbers, the log
stores          the data directory: database, master key, operator key
master_key      the master key: where it is kept, made once at the first start
operator_key    the operator key: given, or generated at the first start
administration  organizations, keys, rotation of the master key
outbound        the sender
service         what the API needs
worker          what a delivery worker needs
sealer          what a sealer needs
"""
