"""Seals the logs of all organizations: a process of its own, so that neither ingest nor delivery waits for it.

sealer.py    looks for logs that are due, and seals them one after the other
reports.py   notes in the store how it does, for metrics, doctor and console
yielding.py  when it rests, so that ingest and delivery have the processors
"""

from .sealer import Sealer

__all__ = ["Sealer"]
