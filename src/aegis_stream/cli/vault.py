"""vault: the master key, on the store of the data directory itself, also while the service runs."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import JSON, print_json
from .remote import YES, confirm
from .service import CONFIG, read_settings

if TYPE_CHECKING:
    from aegis_stream.vault import Rotated


@click.group()
def vault() -> None:
    """The master key that seals stored credentials."""


@vault.command("rotate")
@click.option(
    "--drop-old",
    is_flag=True,
    help="Only remove older keys that nothing stands under any more from the key file.",
)
@JSON
@CONFIG
@click.pass_context
def rotate(context: click.Context, drop_old: bool, as_json: bool, config: Path | None) -> int:
    """Bring all credentials under a new master key, while the service runs; run again what was interrupted.

    A new key is made in the key file. Where the key comes by AEGIS_MASTER_KEY, put the new one and a comma in front of the
    old one, restart the service with it, and run this with the same variable.
    """
    from aegis_stream.wiring import make_log, make_rotation, open_stores  # noqa: PLC0415

    settings, _ = read_settings(context, config)
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
    """Begin anew after a master key was lost or records were damaged: deletes what nobody can open any more.

    Events stay. What is printed of each deleted destination is what is needed to make it anew, and to replay to it what the old
    one had not sent.
    """
    from aegis_stream.wiring import make_log, make_rotation, open_stores  # noqa: PLC0415

    confirm("Delete every destination whose credential does not open?", yes=yes)
    settings, _ = read_settings(context, config)
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
            f"deleted  {one.dst_id} of {one.org_id}; replay to its successor from sequence {one.cursor + 1}"
        )
    _print_rotated(done, rotation.keys.setting)
    return 0


def _print_rotated(done: "Rotated", setting: str) -> None:
    click.echo(
        f"master key {done.key_id} {'made' if done.made else 'found'} in {setting}; it seals from now on"
    )
    click.echo(f"{done.rewrapped} destinations brought under it")
    if done.made:
        click.echo(f"back {setting} up now, apart from the database")
    if done.broken:
        click.echo(
            "these have a credential that does not open, and stay as they are: put the key back that is missing, or give them "
            "up with `aegis vault reset`: " + ", ".join(done.broken),
            err=True,
        )
    elif done.old:
        click.echo(
            f"nothing stands under {', '.join(done.old)} any more: keep it for as long as backups from before, then "
            "`aegis vault rotate --drop-old`, or leave it out where it is given"
        )


def _print_dropped(dropped: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json({"dropped": dropped})
    else:
        click.echo(f"removed {', '.join(dropped)}" if dropped else "there is no older key")


def _tell(done: int, total: int) -> None:
    """Say how far it is: one moving line on a terminal, else a line for each step."""
    begin, end = ("\r", done >= total) if sys.stderr.isatty() else ("", True)
    click.echo(f"{begin}{done} of {total} destinations", err=True, nl=end)
