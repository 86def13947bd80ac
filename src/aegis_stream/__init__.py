"""Aegis Audit Stream: audit events in, delivered to every destination, at least once."""

__version__ = "0.1.0"
