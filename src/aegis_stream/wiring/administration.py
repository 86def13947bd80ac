"""What the administrative commands are made of: organizations, keys, the master key."""

from aegis_stream.access import Issuer
from aegis_stream.domain.audit import COMMAND_LINE
from aegis_stream.settings import Settings
from aegis_stream.store.audit_writer import AuditWriter
from aegis_stream.vault import Rotation

from .process import SystemClock, SystemRandom
from .stores import Stores, key_source


def make_rotation(settings: Settings, stores: Stores) -> Rotation:
    """Return what turns master keys."""
    clock, random = SystemClock(), SystemRandom()
    audit_writer = AuditWriter(COMMAND_LINE, clock, random) if settings.organization.audit_actions else None
    return Rotation(
        key_source(settings),
        settings.store.data_dir,
        stores.secrets,
        stores.directory,
        clock,
        random,
        audit_writer.append if audit_writer is not None else None,
    )


def make_issuer(settings: Settings) -> Issuer:
    """Return what makes organizations and keys at the command line."""
    clock, random = SystemClock(), SystemRandom()
    audit_writer = AuditWriter(COMMAND_LINE, clock, random) if settings.organization.audit_actions else None
    return Issuer(clock, random, audit_writer, settings.organization.keys_max)
