"""proof: how logs are sealed, on the store of the data directory itself; the service may run meanwhile."""

import contextlib
from pathlib import Path
from typing import BinaryIO

import click

from aegis_stream.control import evidence, log_hashes, organizations
from aegis_stream.control import proof as use_cases
from aegis_stream.control.caller import COMMAND_LINE, Caller, Principal
from aegis_stream.control.deps import StoreDeps
from aegis_stream.control.evidence import Evidence
from aegis_stream.control.proof import ProofStanding
from aegis_stream.control.seal_request import seal_now
from aegis_stream.control.seal_waits import SealWaits
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.organization import ProofMode, Scope
from aegis_stream.domain.times import to_text

from .files import whole_file
from .on_store import run_on_store
from .output import JSON, print_json
from .remote import YES, confirm
from .service import CONFIG, read_settings
from .values import ORG, Number, Whole

DAY_US = 86_400 * SECOND


@click.group()
def proof() -> None:
    """Show and choose how the logs of organizations are sealed, in the data directory itself."""


@proof.command("show")
@ORG
@JSON
@CONFIG
@click.pass_context
def show(context: click.Context, org_id: str, as_json: bool, config: Path | None) -> None:
    """Show how far an organization's log is sealed, and the key that verifies it."""
    found = run_on_store(context, config, lambda deps: use_cases.show(deps, org_id))
    if as_json:
        print_json(_shown(found))
        return
    log = found.log
    if found.refused_since is not None:
        click.echo(f"REFUSED     since {to_text(found.refused_since)}: {found.refusal}")
    click.echo(f"mode        {found.organization.proof}")
    if log is None:
        click.echo("log         nothing is sealed yet")
        return
    click.echo(f"log         {log.origin}")
    click.echo(f"sealed      {log.end} of {found.organization.head} events, {to_text(log.sealed_at)}")
    for key, retired_at in zip(found.keys, found.retired_at, strict=True):
        until = "" if retired_at is None else f"  (signs until {to_text(retired_at)})"
        click.echo(f"key         {key}{until}")


@proof.command("mode")
@ORG
@click.argument("mode", type=click.Choice([one.value for one in ProofMode]))
@JSON
@CONFIG
@click.pass_context
def mode(context: click.Context, org_id: str, mode: str, as_json: bool, config: Path | None) -> None:
    """Choose how an organization's log is sealed.

    off: not at all. sealed: a Merkle tree with signed checkpoints, nothing is added to the log. stream: checkpoint events travel
    in the log as well, so that a receiver can verify what it has with nothing else.
    """
    found = run_on_store(
        context, config, lambda deps: use_cases.set_mode(deps, COMMAND_LINE, org_id, ProofMode(mode))
    )
    if as_json:
        print_json({"org_id": found.org_id, "proof": found.proof.value})
        return
    click.echo(f"mode        {found.proof}")


@proof.command("seal")
@ORG
@JSON
@CONFIG
@click.pass_context
def seal(context: click.Context, org_id: str, as_json: bool, config: Path | None) -> None:
    """Have everything sealed that is recorded now, and print the signed checkpoint: export up to here.

    The sealer of the running service does it; this waits for it, at most 15 seconds.
    """
    settings, _ = read_settings(context, config)
    found = run_on_store(
        context, config, lambda deps: seal_now(deps, org_id, SealWaits(), runs=settings.proof.enabled)
    )
    if as_json:
        print_json({"org_id": org_id, "log": found.origin, "sealed": found.end, "checkpoint": found.note})
        return
    click.echo(found.note, nl=False)


@proof.command("bundle")
@ORG
@click.option("--from-size", type=Whole(1), help="Size of a checkpoint that the auditor has kept.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. Default: proof-ORG-SIZE.zip in this folder.",
)
@CONFIG
@click.pass_context
def bundle(
    context: click.Context, org_id: str, from_size: int | None, output: Path | None, config: Path | None
) -> None:
    """Write what an auditor needs to check exports: keys, newest checkpoint, the offline verifier, instructions; no event.

    With --from-size it also has the proof that the newest checkpoint continues the one that was kept.
    """

    async def gather(deps: StoreDeps) -> Evidence:
        return await evidence.bundle(deps, await _reader_of(deps, org_id), from_size)

    made = run_on_store(context, config, gather)
    target = output or Path(f"{made.name}.zip")
    with whole_file(target, "--output") as file:
        file.write(made.data)
    click.echo(f"{target}  {len(made.data)} bytes")


@proof.command("hashes")
@ORG
@click.option(
    "--first", type=Whole(1), help="Sequence of the first event. Default: the first one that is sealed."
)
@click.option(
    "--last", type=Whole(1), help="Sequence of the last event. Default: the last one that is sealed."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. Default: standard output.",
)
@CONFIG
@click.pass_context
def hashes(
    context: click.Context,
    org_id: str,
    first: int | None,
    last: int | None,
    output: Path | None,
    config: Path | None,
) -> None:
    """Write the hashes of sealed events: with them `aegis verify` checks an export that lacks checkpoint events.

    Each line is a checkpoint event without a note. The checkpoint events of the range that are still in the log come too. Give the
    file beside the export; it proves nothing until it leads to a signed checkpoint.
    """
    with contextlib.nullcontext() if output is None else whole_file(output, "--output") as file:
        end = run_on_store(context, config, lambda deps: _tell(deps, org_id, first, last, file))
    if output is not None:
        click.echo(f"{output}  hashes up to event {end}")


@proof.command("rotate-key")
@ORG
@click.option(
    "--overlap-days",
    type=Number(0, 3650),
    help="For so long the old key signs as well; 0 if it was stolen. Default: AEGIS_PROOF_KEY_OVERLAP_DAYS.",
)
@JSON
@CONFIG
@click.pass_context
def rotate_key(
    context: click.Context, org_id: str, overlap_days: float | None, as_json: bool, config: Path | None
) -> None:
    """Make a new key that signs an organization's checkpoints.

    An event of the log announces it, so `aegis verify` with the old key goes on. Give the new key to everybody who verifies, before
    the old one ends.
    """
    settings, _ = read_settings(context, config)
    days = settings.proof.key_overlap_days if overlap_days is None else overlap_days
    made = run_on_store(
        context,
        config,
        lambda deps: use_cases.rotate_key(deps, COMMAND_LINE, org_id, int(days * DAY_US)),
    )
    if as_json:
        shown = {"org_id": org_id, "log": made.log, "key": made.new, "old_key": made.old}
        print_json(shown | {"old_key_until": to_text(made.old_until)})
        return
    click.echo(f"key         {made.new}")
    click.echo(f"old key     {made.old}  (signs until {to_text(made.old_until)})")


@proof.command("restart")
@ORG
@click.option("--reason", required=True, help="Why; it is recorded in the organization's log.")
@YES
@JSON
@CONFIG
@click.pass_context
def restart(
    context: click.Context, org_id: str, reason: str, yes: bool, as_json: bool, config: Path | None
) -> None:
    """Begin another log after an older database was put in place.

    The service refuses to seal a log from an older state, because two histories would be signed. Put the newest backup in place
    if there is one. If not, this begins another log behind the last event that is sealed; its name says where it begins.
    """
    from aegis_stream.store.checkpoint_log import CheckpointLog  # noqa: PLC0415

    confirm(f"Begin another log of {org_id}? Verifiers see that the old one ends.", yes=yes)
    settings, _ = read_settings(context, config)
    signed = CheckpointLog(settings.store.data_dir)
    made = run_on_store(
        context,
        config,
        lambda deps: use_cases.restart(
            deps, COMMAND_LINE, org_id, reason, lambda origin: signed.last(origin) is not None
        ),
    )
    if as_json:
        print_json({"org_id": org_id, "log": made.origin, "first_sequence": made.base + 1})
        return
    click.echo(f"log         {made.origin}, from sequence {made.base + 1} on")


async def _tell(
    deps: StoreDeps, org_id: str, first: int | None, last: int | None, file: BinaryIO | None
) -> int:
    """Write hashes to a file or to standard output, a call's worth at a time. Returns: the last sequence that they cover."""
    caller, following = await _reader_of(deps, org_id), first
    while True:
        told = await log_hashes.tell_again(deps, caller, following, last)
        click.echo("".join([f"{one}\n" for one in told.lines]).encode(), file=file, nl=False)
        if told.following is None:
            return told.last
        following = told.following


async def _reader_of(deps: StoreDeps, org_id: str) -> Caller:
    """Return the command line as a reader of an organization. Raises: NotFound."""
    found = await organizations.find(deps, org_id)
    return Caller(COMMAND_LINE.actor, Principal(found.no, found.org_id, Scope.READ, COMMAND_LINE.actor.id))


def _shown(found: ProofStanding) -> dict[str, object]:
    log = found.log
    return {
        "org_id": found.organization.org_id,
        "mode": found.organization.proof.value,
        "head": found.organization.head,
        "log": None if log is None else log.origin,
        "first_sequence": None if log is None else log.base + 1,
        "sealed": None if log is None else log.end,
        "sealed_at": None if log is None else to_text(log.sealed_at),
        "checkpoint": None if log is None else log.note,
        "refused": found.refusal or None,
        "keys": list(found.keys),
        "retired_at": [None if one is None else to_text(one) for one in found.retired_at],
    }
