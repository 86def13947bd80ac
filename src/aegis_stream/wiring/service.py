"""What the API needs; the web framework is not among it: `api.routes` loads that late."""

from aegis_stream.api.counts import IngestCounts
from aegis_stream.api.service import Service
from aegis_stream.control.access import Access, AccessLimits
from aegis_stream.control.audit import RefusalLog
from aegis_stream.control.deps import ControlDeps
from aegis_stream.domain.event import EventLimits
from aegis_stream.pipeline.ingest import Ingest
from aegis_stream.pipeline.quotas import IngestQuotas
from aegis_stream.ports import Notifier
from aegis_stream.settings import IngestSettings, Settings
from aegis_stream.store.keys import StoredKeys
from aegis_stream.telemetry import Log

from .outbound import make_guard, make_sender
from .process import SystemClock, SystemRandom
from .stores import Stores


def make_service(
    settings: Settings,
    stores: Stores,
    telemetry: Log,
    notifier: Notifier,
    counts: IngestCounts | None = None,
    *,
    needs_worker: bool = False,
) -> Service:
    """Return what the API needs.

    Args:
        needs_worker: the service is not ready while no delivery worker runs.
        counts: shared by all API processes of this `aegis serve`; None where this is the only one.
    """
    counts = counts or IngestCounts()
    clock, random, sender = SystemClock(), SystemRandom(), make_sender(settings)
    quotas = IngestQuotas(
        settings.rates.ingest_bytes_per_second,
        on_refusal=lambda org_id, quota: telemetry.warning(
            "organization.quota_reached", org_id=org_id, quota=quota
        ),
    )
    access = Access(
        StoredKeys(stores.db),
        clock,
        stores.operator_digest,
        AccessLimits.of(settings.rates),
        on_guess=lambda network, key: telemetry.warning("access.key_refused", network=network, key=key),
        quotas=quotas,
    )
    control = ControlDeps(
        db=stores.db,
        clock=clock,
        random=random,
        audit_actions=settings.organization.audit_actions,
        keys_max=settings.organization.keys_max,
        forget_key=access.forget,
        sealer=stores.secrets.sealer,
        log=stores.log,
        ingest=Ingest(
            stores.log,
            clock,
            random,
            notifier,
            settings.ingest.queue_bytes_max,
            event_limits(settings.ingest),
            quotas,
        ),
        access=access,
        sender=sender,
        look_ups=sender.look_ups,
        guard=make_guard(settings),
        notify_changes=notifier.notify_changes,
        settings=settings,
    )
    access.refusals = RefusalLog(control)
    access.share(counts.processes)
    return Service(control, counts, telemetry, needs_worker)


def event_limits(settings: IngestSettings) -> EventLimits:
    """Return how large and how odd an event may be."""
    return EventLimits(
        settings.event_bytes_max,
        settings.json_depth_max,
        settings.number_digits_max,
        settings.privacy_check,
    )
