"""doctor: checks everything and changes nothing; every finding says what to do."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import JSON, print_json
from .service import CONFIG, read_settings

if TYPE_CHECKING:
    from aegis_stream.settings import Settings
    from aegis_stream.store.inspection import Inspection
    from aegis_stream.store.opening import Location

    from .checks import Finding

_FIRST_START = (
    "if a service has its data elsewhere, set AEGIS_DATA_DIR to its data directory; "
    "otherwise nothing: the first start of aegis serve creates it"
)
_UNREADABLE = (
    "run aegis doctor as the user of the service; if the database is damaged, restore the last backup"
)
_UNREACHABLE = (
    "check AEGIS_DATABASE_URL, the role's password, and that the server runs and can be reached from here"
)


@click.command()
@click.option(
    "--egress",
    is_flag=True,
    help="Also connect to every destination, without sending a request or a credential.",
)
@JSON
@CONFIG
@click.pass_context
def doctor(context: click.Context, egress: bool, as_json: bool, config: Path | None) -> int:
    """Find out what is wrong and what to do.

    Checks build, configuration, files, keys, database, disk, clock, workers and destinations, and changes nothing. It resolves the
    host names of destinations; unless --egress is given, nothing else leaves this machine. Exit status 1 if there is a
    problem.
    """
    findings = []
    for one in _check(context, config, egress=egress):
        findings.append(one)
        if not as_json:
            _print(one)
    problems = sum(one.state == "problem" for one in findings)
    if as_json:
        print_json({"ok": not problems, "findings": [one._asdict() for one in findings]})
    else:
        click.echo(f"{problems or 'no'} problem{'' if problems == 1 else 's'}")
    return 1 if problems else 0


def _check(context: click.Context, config: Path | None, *, egress: bool) -> Iterator["Finding"]:
    """Run one check after the other, as far as possible."""
    from aegis_stream import build  # noqa: PLC0415
    from aegis_stream.errors import Misconfigured  # noqa: PLC0415
    from aegis_stream.wiring.stores import database_location, lost_database  # noqa: PLC0415

    from . import checks  # noqa: PLC0415
    from .checks_egress import check_trust  # noqa: PLC0415
    from .checks_running import check_running  # noqa: PLC0415

    yield checks.check_build(build.installed())
    try:
        settings, path = read_settings(context, config)
    except Misconfigured as error:
        yield checks.Finding(
            "configuration",
            "problem",
            error.message,
            "correct it; docs/reference/configuration.md lists all settings",
        )
        return
    yield from checks.check_settings(settings, path)
    yield from check_trust(settings)
    folder, location = settings.store.data_dir, database_location(settings)
    if location.shared:
        if folder.is_dir():
            yield from checks.check_files(folder)
        yield from _check_database(settings, location, egress=egress)
        return
    yield from check_running(folder, location.path)
    if not folder.is_dir():
        yield checks.Finding("files", "note", f"{folder.absolute()} does not exist yet", _FIRST_START)
        return
    yield from checks.check_files(folder, location.path)
    yield from checks.check_disk(folder)
    if fault := lost_database(folder, location.path):
        yield checks.Finding("database", "problem", fault, "stop the service first if it runs")
    elif location.path.exists():
        yield from _check_database(settings, location, egress=egress)
    else:
        yield checks.Finding(
            "database", "note", f"{location.path.absolute()} does not exist yet", _FIRST_START
        )


def _check_database(settings: "Settings", location: "Location", *, egress: bool) -> Iterator["Finding"]:
    """Check the database, its content, and its keys."""
    from aegis_stream.errors import Misconfigured, Unavailable  # noqa: PLC0415
    from aegis_stream.store.opening import inspect_database  # noqa: PLC0415
    from aegis_stream.wiring.process import SystemClock  # noqa: PLC0415
    from aegis_stream.wiring.stores import demands_of  # noqa: PLC0415

    from .checks import Finding  # noqa: PLC0415
    from .checks_store import check_database  # noqa: PLC0415

    try:
        with inspect_database(location) as inspection:
            yield from check_database(location, inspection, demands_of(settings), SystemClock().now)
            if inspection.schema.readable and inspection.schema.found >= inspection.schema.newest:
                yield from _check_content(settings, location, inspection, egress=egress)
    except Misconfigured as error:
        yield Finding("database", "problem", error.message, "do this before the next start")
    except Unavailable as error:
        yield Finding(
            "database", "problem", error.explained, _UNREACHABLE if location.shared else _UNREADABLE
        )


def _check_content(
    settings: "Settings", location: "Location", inspection: "Inspection", *, egress: bool
) -> Iterator["Finding"]:
    from aegis_stream.errors import Misconfigured  # noqa: PLC0415
    from aegis_stream.store.recorded_head import RecordedHead  # noqa: PLC0415
    from aegis_stream.vault import Vault  # noqa: PLC0415
    from aegis_stream.wiring.master_key import key_source  # noqa: PLC0415
    from aegis_stream.wiring.process import SystemClock, SystemRandom  # noqa: PLC0415

    from . import checks, checks_store  # noqa: PLC0415
    from .checks_egress import check_destinations  # noqa: PLC0415
    from .checks_proof import check_proof  # noqa: PLC0415

    clock = SystemClock()
    # What is noted beside a database of several machines says nothing about it.
    recorded = None if location.shared else RecordedHead(settings.store.data_dir)
    yield from checks_store.check_events(inspection, recorded)
    yield from checks_store.check_quotas(inspection, settings.quotas)
    yield from checks.check_clock(
        clock.now(), inspection.newest_time(), None if location.shared else location.path
    )
    try:
        keys = key_source(settings)
        vault = Vault(keys, SystemRandom())
    except Misconfigured as error:
        remedy = "restore it from its backup, with mode 0600; if there is no backup, see `aegis vault reset --help`"
        yield checks.Finding("master key", "problem", error.message, remedy)
        return
    yield from checks_store.check_keys(keys, vault, inspection)
    destinations, finding = checks_store.check_credentials(vault, inspection)
    yield finding
    now = inspection.lease_time() if location.shared else clock.steady()
    yield from checks_store.check_workers(inspection, location, now, len(destinations))
    yield from check_proof(inspection, settings, clock.now())
    yield from checks_store.check_deliveries(inspection)
    yield from asyncio.run(check_destinations(settings, destinations, connect=egress))


def _print(finding: "Finding") -> None:
    from .client import printable  # noqa: PLC0415

    label = "PROBLEM" if finding.state == "problem" else finding.state
    click.echo(f"{label:8} {finding.check:14} {printable(finding.detail)}")
    if finding.remedy:
        click.echo(f"{'':23} → {printable(finding.remedy)}")
