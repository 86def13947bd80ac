"""Runs a use case on the store of the data directory itself; the service may run meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from aegis_stream.control.deps import StoreDeps

from .data_directory import expect_database
from .service import read_settings

T = TypeVar("T")


def run_on_store(
    context: click.Context,
    config: Path | None,
    use_case: Callable[[StoreDeps], Coroutine[Any, Any, T]],
    *,
    may_be_first: bool = False,
) -> T:
    """Run one use case on the store of the data directory."""
    from aegis_stream.wiring.administration import make_store_deps  # noqa: PLC0415
    from aegis_stream.wiring.process import make_log  # noqa: PLC0415
    from aegis_stream.wiring.stores import open_stores  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    expect_database(settings, may_be_first=may_be_first)
    stores = open_stores(settings, make_log(settings.telemetry))
    for note in stores.notes:
        click.echo(f"first start: {note}", err=True)
    if stores.notes and not stores.location.shared:
        folder = settings.store.data_dir.absolute()
        click.echo(
            f"keys of {folder} are valid only for a service with this data directory; "
            "if your service has another one, set AEGIS_DATA_DIR to that and run this again",
            err=True,
        )
    try:
        return asyncio.run(use_case(make_store_deps(settings, stores)))
    finally:
        stores.close()
