"""What the sealer is made of; imports nothing of the API."""

from aegis_stream.control.sealing import SealingDeps
from aegis_stream.domain.ids import SECOND
from aegis_stream.pipeline.seal import Pace
from aegis_stream.sealer import Sealer
from aegis_stream.settings import Settings
from aegis_stream.store.checkpoint_log import CheckpointLog
from aegis_stream.store.tree import instance
from aegis_stream.telemetry import Log

from .process import SystemClock, SystemRandom
from .stores import Stores


def make_sealer(settings: Settings, stores: Stores, telemetry: Log) -> Sealer:
    """Return a sealer on these stores. Raises: Misconfigured when what was signed here cannot be read."""
    proof = settings.proof
    deps = SealingDeps(
        db=stores.db,
        sealer=stores.secrets.sealer,
        clock=SystemClock(),
        random=SystemRandom(),
        checkpoints=CheckpointLog(settings.store.data_dir),
        origin=proof.origin or f"aegis-{stores.db.read_now(instance):08x}",
        events_max=proof.events,
        audit_actions=settings.organization.audit_actions,
        contents=proof.contents,
    )
    pace = Pace(proof.events, int(proof.seconds * SECOND), int(proof.heartbeat_seconds * SECOND))
    return Sealer(deps, pace, telemetry)
