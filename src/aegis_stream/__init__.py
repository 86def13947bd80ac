"""Aegis Audit Stream: audit events in, delivered to every destination, at least once."""

__version__ = "0.1.0"
PRODUCT = "Aegis-Audit-Stream"
"""By what name the service calls itself in User-Agent, before the version."""
