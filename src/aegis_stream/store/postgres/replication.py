"""Rules of durability.py on standbys and replication slots: who has a copy of an event when it is acknowledged."""

from collections.abc import Iterator

from aegis_stream.store.suitability import Demands, Finding

from .facts import BY_STORAGE, Facts, Standby

SHOWN_MAX = 10
"""Most standbys that a finding lists."""
_NAME_THEM = "set synchronous_standby_names, as in 'ANY 1 (node1, node2, node3)', and reload"
_GRANT = "GRANT pg_monitor TO the role that the service logs in as"


def standbys(facts: Facts, demands: Demands) -> Iterator[Finding]:
    """Judge whether a commit waits for a standby, where there is one."""
    row = "standbys"
    names = facts.setting("synchronous_standby_names")
    if facts.managed in BY_STORAGE:
        yield Finding(row, "ok", f"by storage: {facts.managed} replicates each commit below PostgreSQL")
    elif names:
        yield _synchronous(names, facts.standbys)
    elif demands.require_sync and facts.managed:
        detail = f"synchronous_standby_names is empty; {facts.managed} can replicate below PostgreSQL, where this cannot be seen"
        remedy = "check that the instance is a highly available one: Multi-AZ, regional or zone-redundant"
        yield Finding(row, "warn", detail, remedy)
    elif demands.require_sync:
        detail = (
            "synchronous_standby_names is empty, and AEGIS_REQUIRE_SYNC demands a standby for each commit"
        )
        yield Finding(row, "refuse", detail, _NAME_THEM)
    elif facts.standbys:
        detail = (
            f"synchronous_standby_names is empty, so {_listed(facts.standbys)} may lag: "
            "a failover can lose events that were acknowledged"
        )
        yield Finding(row, "warn", detail, _NAME_THEM)
    else:
        yield Finding(row, "ok", "none: this server alone has the events")


def _synchronous(names: str, found: tuple[Standby, ...]) -> Finding:
    """Judge the standbys that are connected, where commits wait for some."""
    row = "standbys"
    if any(one.sync_state is None for one in found):
        return Finding(
            row, "info", f"commits wait for {names}; the state of standbys this role may not see", _GRANT
        )
    waiting = "every commit waits until one of these is connected"
    if not found:
        remedy = "start a standby; without the setting, commits go on and this server alone has the events"
        return Finding(row, "warn", f"no standby is connected, and {waiting}: {names}", remedy)
    if not any(one.sync_state in ("sync", "quorum") for one in found):
        remedy = "compare the names with cluster_name, or application_name, of the standbys"
        return Finding(row, "warn", f"only {_listed(found)} are connected, and {waiting}: {names}", remedy)
    return Finding(row, "ok", f"commits wait for {names}: {_listed(found)}")


def _listed(found: tuple[Standby, ...]) -> str:
    shown = [f"{one.name or 'a standby'} ({one.sync_state or 'state unseen'})" for one in found[:SHOWN_MAX]]
    more = f" and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
    return ", ".join(shown) + more


def slots(facts: Facts, _: Demands) -> Iterator[Finding]:
    """Judge whether log that is kept for a consumer that is gone can fill the disk."""
    row = "slots"
    limit = int(facts.setting("max_slot_wal_keep_size") or -1)
    timeout = facts.setting("idle_replication_slot_timeout")
    told = (
        f"wal_level {facts.setting('wal_level')}, "
        f"max_slot_wal_keep_size {'unlimited' if limit < 0 else f'{limit} MB'}"
        + (f", idle_replication_slot_timeout {timeout} s" if timeout else "")
    )
    if facts.slots and limit < 0:
        dead = ", ".join(f"{one.name} ({one.kept_bytes / 1e6:,.0f} MB)" for one in facts.slots)
        detail = f"nobody reads the slot {dead}: the log that is kept for it can fill the disk"
        remedy = "drop it if nobody needs it (pg_drop_replication_slot), or set max_slot_wal_keep_size"
        yield Finding(row, "warn", detail, remedy)
    else:
        yield Finding(row, "ok", told)
