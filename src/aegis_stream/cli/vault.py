"""vault: the master key, on the store of the data directory itself; the service may run meanwhile."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .data_directory import expect_database
from .output import JSON, print_json
from .remote import YES, confirm
from .service import CONFIG, read_settings

if TYPE_CHECKING:
    from aegis_stream.vault import Rotated


@click.group()
def vault() -> None:
    """Rotate or reset the master key, which seals stored credentials."""


@vault.command("rotate")
@click.option(
    "--drop-old",
    is_flag=True,
    help="Only remove older keys from the key file, if no credential needs them any more.",
)
@JSON
@CONFIG
@click.pass_context
def rotate(context: click.Context, drop_old: bool, as_json: bool, config: Path | None) -> int:
    """Seal all credentials with a new master key.

    The service may run meanwhile. If a rotation was interrupted, run it again. The new key is created in the key file. If
    the key is in AEGIS_MASTER_KEY, put the new one and a comma in front of the old one, restart the service with it, and run
    this with the same variable.
    """
    from aegis_stream.wiring.administration import make_rotation  # noqa: PLC0415
    from aegis_stream.wiring.process import make_log  # noqa: PLC0415
    from aegis_stream.wiring.stores import open_stores  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    expect_database(settings)
    stores = open_stores(settings, make_log(settings.telemetry))
    try:
        rotation = make_rotation(settings, stores)
        if drop_old:
            dropped = asyncio.run(rotation.drop_old())
            _print_dropped(dropped, as_json=as_json)
            return 0
        done = asyncio.run(rotation.rotate(_tell))
    finally:
        stores.close()
    if as_json:
        print_json(done._asdict())
    else:
        _print_rotated(done, rotation.keys.setting)
    return 1 if done.broken else 0


@vault.command("reset")
@YES
@JSON
@CONFIG
@click.pass_context
def reset(context: click.Context, yes: bool, as_json: bool, config: Path | None) -> int:
    """Delete destinations whose credentials cannot be decrypted.

    Use this after a master key was lost or records were damaged. Events are kept. For each deleted destination it prints
    what you need to create it again, and to replay to it what the old one had not sent.
    """
    from aegis_stream.wiring.administration import make_rotation  # noqa: PLC0415
    from aegis_stream.wiring.process import make_log  # noqa: PLC0415
    from aegis_stream.wiring.stores import open_stores  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    expect_database(settings)
    confirm("Delete every destination whose credential cannot be decrypted?", yes=yes)
    stores = open_stores(settings, make_log(settings.telemetry), check_keys=False)
    try:
        rotation = make_rotation(settings, stores)
        done, lost = asyncio.run(rotation.reset(_tell))
    finally:
        stores.close()
    if as_json:
        print_json(done._asdict() | {"deleted": [one._asdict() for one in lost]})
        return 0
    for one in lost:
        click.echo(
            f"deleted  {one.dst_id} of {one.org_id}; replay to its replacement from sequence {one.cursor + 1}"
        )
    for org_id in done.forgotten:
        click.echo(f"gave up  the proof key of {org_id}; the next checkpoint is signed with a new one")
    _print_rotated(done, rotation.keys.setting)
    return 0


def _print_rotated(done: "Rotated", setting: str) -> None:
    click.echo(
        f"master key {done.key_id} {'created' if done.made else 'found'} in {setting}; it seals credentials from now on"
    )
    click.echo(f"{done.rewrapped} destinations sealed with it")
    if done.made:
        click.echo(f"back up {setting} now, apart from the database")
    if done.broken:
        click.echo(
            f"cannot decrypt the credentials of {', '.join(done.broken)}, which are unchanged: restore the missing key, or delete "
            "these destinations with `aegis vault reset`",
            err=True,
        )
    elif done.old:
        click.echo(
            f"no credential needs {', '.join(done.old)} any more: keep it while you keep backups from before, then run "
            "`aegis vault rotate --drop-old`, or remove it from AEGIS_MASTER_KEY"
        )


def _print_dropped(dropped: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json({"dropped": dropped})
    else:
        click.echo(f"removed {', '.join(dropped)}" if dropped else "there is no older key to remove")


def _tell(done: int, total: int) -> None:
    """Report progress: one line that is overwritten on a terminal, else a line for each step."""
    begin, end = ("\r", done >= total) if sys.stderr.isatty() else ("", True)
    click.echo(f"{begin}{done} of {total} destinations", err=True, nl=end)
