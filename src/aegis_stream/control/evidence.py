"""What an auditor is handed: one archive with the keys of a log, its checkpoints, and the program that checks exports offline.

No event is in it, and no secret: all but the program is what the calls for proofs answer.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

from aegis_stream.domain.ids import OrganizationId
from aegis_stream.domain.organization import ProofMode
from aegis_stream.domain.times import to_text
from aegis_stream.store import organizations, tree
from aegis_stream.store.database import Unit
from aegis_stream.store.tree import SealedTree

from . import verifier_file
from .caller import Caller
from .deps import StoreDeps
from .log_proofs import Consistency, consistency_of, keys_of, policy, tree_of

ENDED_MAX = 16
"""Most logs that ended whose last checkpoint is in an archive: a log ends when an older database was put in place."""
KEYS, CHECKPOINT, GUIDE = "keys.txt", "checkpoint.txt", "README.txt"
_MODES = {
    ProofMode.STREAM: "The checkpoints are in the log as events of the dataset aegis.audit_stream.checkpoint: the export must have them.",
    ProofMode.SEALED: (
        "The mode of this log is `sealed`: no checkpoints are among its events, so the check needs the hashes of the log too.\n"
        "Get them from the service, beside the export (GET /api/orgs/ORG/proof/hashes, then each `Link` until there is none;\n"
        "on its machine: aegis proof hashes --org ORG --output hashes.ndjson), and give both files: export.ndjson hashes.ndjson.\n"
        "They prove nothing until they lead to the signed checkpoint."
    ),
    ProofMode.OFF: "This log is not sealed any more: events after the checkpoint have no proof.",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """An archive.

    Args:
        name: of the file, without its ending; letters, digits, hyphens and underscores.
        data: a zip file, well below a megabyte.
    """

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What of the store goes into an archive."""

    org_id: OrganizationId
    mode: ProofMode
    log: SealedTree
    ended: list[SealedTree]
    keys: list[str]
    since: Consistency | None


async def bundle(deps: StoreDeps, caller: Caller, kept_size: int | None = None) -> Evidence:
    """Return the archive for whoever checks this organization's exports; the same state gives the same bytes.

    Args:
        kept_size: of a checkpoint that the auditor has kept: then a proof is added that the newest one continues it.
    Raises: Invalid for a size that the log never had, naming `from_size`. NotFound when nothing is sealed. Unavailable.
    """

    def work(unit: Unit) -> _Gathered:
        log = tree_of(unit, caller)
        return _Gathered(
            caller.org_id,
            organizations.find(unit, caller.org_id).proof,
            log,
            tree.ended_trees(unit, caller.organization_no, ENDED_MAX),
            keys_of(unit, caller, log),
            None if kept_size is None else consistency_of(unit, caller, log, kept_size, None),
        )

    found = await deps.db.read(work)
    name = f"proof-{found.org_id}-{found.log.tree.size}"
    return Evidence(name, _zipped(name, _files(found)))


def _files(found: _Gathered) -> dict[str, bytes]:
    texts = {KEYS: policy(found.keys), CHECKPOINT: found.log.note}
    texts |= {f"ended/from-{one.base + 1}-size-{one.tree.size}.txt": one.note for one in found.ended}
    if (since := found.since) is not None:
        texts[f"consistency-{since.first}-{since.second}.txt"] = _continued(since, found.log.note)
    guide = _guide(found, list(texts))
    return {
        GUIDE: guide.encode(),
        **{name: text.encode() for name, text in texts.items()},
        verifier_file.NAME: verifier_file.verifier(),
    }


def _continued(since: Consistency, note: str) -> str:
    """Return a proof of consistency with its checkpoint, as a witness takes it (c2sp.org/tlog-witness)."""
    hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in since.hashes)
    return f"old {since.first}\n{hashes}\n{note}"


def _guide(found: _Gathered, names: list[str]) -> str:
    log, first = found.log, found.log.base + 1
    digest = hashlib.sha256(verifier_file.verifier()).hexdigest()
    listed = "\n".join(f"  {name:<30}{_about(name)}" for name in names)
    kept = " --key ".join(f"'{key}'" for key in found.keys)
    return f"""Evidence for the audit log of {found.org_id}

Log         {log.origin}
Sealed      events {first} to {log.end}
Checkpoint  size {log.tree.size}, signed {to_text(log.sealed_at)}

Files
{listed}
  {verifier_file.NAME:<30}checks exports offline: one file for Python 3.9 and newer, nothing to install

Check an export
  1. Export the events from the SIEM, as NDJSON or as its own JSON; .gz is read too.
  2. python3 -I -S {verifier_file.NAME} export.ndjson --key {KEYS} --checkpoint {CHECKPOINT}
  3. Exit status 0: every event is there and unaltered. 1: something is missing or altered, and is named.
     3: it cannot be decided, and the report says why.
{_MODES[found.mode]}

What makes this evidence strong
  The key. {KEYS} comes from the service that is audited. Compare it with the key that you kept since the first day, or had on
  another way, and pass that one: --key {kept}
  The program. Take it from the release, or compare its SHA-256: {digest}
  `make verifier` builds the same bytes from the source.
  The checkpoint. Keep {CHECKPOINT} outside the service: whatever is shown later must continue it.

It does not prove that a sender sent everything, or the truth.
"""


def _about(name: str) -> str:
    if name.startswith("consistency-"):
        return "proof that the checkpoint continues the one that you kept"
    if name.startswith("ended/"):
        return "the last checkpoint of a log that ended"
    return {
        KEYS: "the keys of the log, the newest first (c2sp.org/tlog-policy)",
        CHECKPOINT: "the newest signed checkpoint (c2sp.org/tlog-checkpoint)",
    }[name]


def _zipped(folder: str, files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(f"{folder}/{name}", verifier_file.LONG_AGO)
            entry.external_attr = (0o755 if name == verifier_file.NAME else 0o644) << 16
            archive.writestr(entry, data)
    return made.getvalue()
