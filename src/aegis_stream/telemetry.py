"""Every log event and every metric by name, in one table each.

A test compares docs/reference/metrics.md and docs/reference/log-events.md with them.

A log line has a name and values, never a composed message: `log.info("worker.started", worker_id=…)`. No value is a
secret.
"""

import json
import logging
import sys
from typing import Any

from .errors import Misconfigured

LOG_EVENTS: dict[str, str] = {
    "service.started": "The API answers.",
    "service.stopped": "The API has stopped; everything acknowledged is stored.",
    "service.operator_key_made": "First start: the operator key was generated. It is shown once on a terminal, or written to operator.key.",
    "service.failed": "A request met a bug; the line has the error's kind and place.",
    "store.migrated": "The schema was migrated to this version.",
    "store.server_warning": "Something is wrong with the PostgreSQL server, by which events can be lost or the service can stop; `reason` and `remedy` say what.",
    "store.server_unsuitable": "The PostgreSQL server, or the one after a failover, would be refused at a start: it may lose what it acknowledges. The service goes on.",
    "store.replaced": "The database files were removed or replaced while the service runs: nothing is stored or delivered until they are back, or the service is restarted.",
    "store.event_damaged": "An event is missing in the log, or its bytes have changed since it was recorded: it was not sent, and is a dead letter.",
    "store.worker_removed": "A worker was found dead; its destinations are free.",
    "supervisor.start_failed": "A child process could not be started, for want of descriptors, memory or processes; it is tried again.",
    "supervisor.worker_started": "A worker process was started.",
    "supervisor.worker_exited": "A worker process ended; it is started again unless the service is stopping.",
    "supervisor.api_started": "A further API process was started.",
    "supervisor.api_exited": "A further API process ended; it is started again unless the service is stopping.",
    "api.started": "A further API process answers.",
    "api.stopped": "A further API process has stopped; everything it acknowledged is stored.",
    "supervisor.sealer_started": "A sealer process was started.",
    "supervisor.sealer_exited": "A sealer process ended; it is started again unless the service is stopping.",
    "sealer.started": "A sealer looks for logs to seal.",
    "sealer.stopped": "A sealer has stopped; what it had signed is stored, or is sealed first by the next one.",
    "sealer.store_unavailable": "The sealer cannot reach the store, or cannot note what it signs; it tries again. Logged once for each reason of an outage.",
    "proof.refused": "A log is not sealed any more, because tree, events and what was signed contradict each other: an older copy of the database was put in place, or rows were changed. `reason` says what to do. The other logs go on.",
    "worker.started": "A worker serves destinations.",
    "worker.stopped": "A worker has stopped; what was in flight is settled or released.",
    "worker.lease_lost": "A worker was silent for longer than its lease; it starts again under a new id.",
    "worker.leases_lost": "Another worker took over destinations.",
    "service.store_unavailable": "The service cannot reach the store; it tries again. Logged once for each reason of an outage.",
    "worker.store_unavailable": "The worker cannot reach the store; it tries again.",
    "retention.clock_jumped": "The wall clock jumped, or the service was off: retention deletes nothing early; check the clock.",
    "access.key_refused": "An invalid key was used: mistyped, expired, revoked or guessed. Logged once a minute for each network and kind of key.",
    "organization.quota_reached": "Events of an organization are refused, because its quota of stored bytes or of bytes per second is used up. Logged once a minute for each organization and quota.",
    "vault.key_unknown": "A stored credential, or the store, names a master key that this process does not have. Logged once for each place.",
    "vault.record_refused": "A sealed record was damaged, changed or moved, and does not open. Logged once for each place.",
    "destination.unsettled": "The store takes no outcomes of a destination, while it takes those of others: the database may be damaged.",
    "destination.unreadable": "A destination's stored credential or configuration does not open.",
    "destination.halted": "A bug stops the delivery to one destination; it is retried after a minute, and no event is lost.",
    "destination.format_failed": "A format raised an error for an event or an answer: a bug, which makes one event a dead letter.",
    "destination.failing": "Attempts fail for a reason about the destination.",
    "destination.recovered": "A destination accepts events again.",
    "destination.warning": "Events are delivered, but something needs a look: the destination's message, or its limits.",
}
"""Every log event: its name, and what it means."""

METRICS: dict[str, tuple[str, str]] = {
    "aegis_build_info": ("gauge", "Always 1; the labels say which version runs, and whether it is compiled."),
    "aegis_store_totals_reported": (
        "gauge",
        "1 where this answer has the sums over the store, 0 where that of another node has them.",
    ),
    "aegis_ingest_requests_total": ("counter", "Ingest requests answered, by status."),
    "aegis_ingest_events_total": ("counter", "Events by result: accepted, duplicate, rejected."),
    "aegis_destinations": ("gauge", "Destinations configured."),
    "aegis_destinations_failing": ("gauge", "Destinations whose last attempts failed."),
    "aegis_destinations_halted": (
        "gauge",
        "Destinations that are not served because of a bug; they are failing too.",
    ),
    "aegis_deliveries_total": ("counter", "Events delivered, summed over destinations."),
    "aegis_failed_attempts_total": ("counter", "Failed attempts, summed over destinations."),
    "aegis_retrying": ("gauge", "Events waiting for their next attempt."),
    "aegis_dead_letters": ("gauge", "Dead letters waiting to be redriven or purged."),
    "aegis_damaged_events_total": (
        "counter",
        "Events found damaged or missing in the store and set aside as dead letters, summed over destinations.",
    ),
    "aegis_stored_bytes": ("gauge", "Bytes of events in the logs of all organizations."),
    "aegis_organizations_near_quota": (
        "gauge",
        "Organizations that store at least 80 % of their quota of bytes.",
    ),
    "aegis_backlog": ("gauge", "Events not yet attempted, summed over destinations."),
    "aegis_proof_lag_events": (
        "gauge",
        "Events that no signed checkpoint covered when the sealer looked last, summed over logs.",
    ),
    "aegis_proof_lag_seconds": (
        "gauge",
        "Seconds since the sealer had nothing left to do; it grows when the sealer is behind, refuses a log, or does not run.",
    ),
    "aegis_proof_seals_total": ("counter", "Seals of logs that were stored, summed over organizations."),
    "aegis_proof_inconsistent_total": (
        "counter",
        "How often the sealer refused a log, because tree, events and what was signed contradict each other, summed over organizations.",
    ),
    "aegis_api_processes": (
        "gauge",
        "API processes of all nodes, which keep to one limit of calls together.",
    ),
}
"""Every metric: its name, kind, and what it counts."""


def place_of(error: BaseException) -> str:
    """Return where an error was raised, as file:line. Only this may be logged: its text may quote what somebody sent."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


class Log:
    """Structured log lines on standard error, as JSON or for a person.

    Args:
        form: "json" or "console".
        level: "debug", "info", "warning" or "error".
    """

    def __init__(self, form: str = "json", level: str = "info") -> None:
        if form not in ("json", "console"):
            raise Misconfigured(f"the log format {form!r} must be json or console")
        self._logger = logging.Logger("aegis", level.upper())  # noqa: LOG001 - not a shared logger, so that settings of other packages do not apply
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Json() if form == "json" else _Console())
        self._logger.addHandler(handler)

    def debug(self, name: str, **values: Any) -> None:
        """Log a detail."""
        self._log(logging.DEBUG, name, values)

    def info(self, name: str, **values: Any) -> None:
        """Log a normal event."""
        self._log(logging.INFO, name, values)

    def warning(self, name: str, **values: Any) -> None:
        """Log something that the service handles by itself."""
        self._log(logging.WARNING, name, values)

    def error(self, name: str, **values: Any) -> None:
        """Log something that a person should look at."""
        self._log(logging.ERROR, name, values)

    def _log(self, level: int, name: str, values: dict[str, Any]) -> None:
        assert name in LOG_EVENTS, f"{name} is missing in telemetry.LOG_EVENTS"
        self._logger.log(level, name, extra={"values": values})


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = getattr(record, "values", {})
        head = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.msg,
        }
        return json.dumps(head | values, default=str)


class _Console(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = getattr(record, "values", {})
        pairs = " ".join(f"{name}={json.dumps(value, default=str)}" for name, value in values.items())
        return f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower():7} {record.msg} {pairs}".rstrip()
