"""`aegis verify`: the offline verifier, which is a program of its own; it has its options and its exit statuses."""

import click

from aegis_stream.verify.__main__ import OPTIONS, main


class _PassedOn(click.Command):
    """A command whose arguments another parser reads; its options are listed for those who look them up."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params = {"arguments": list(args)}
        return []


def _run(arguments: list[str]) -> int:
    return main(arguments, prog="aegis verify")


verify = _PassedOn(
    "verify",
    callback=_run,
    params=[click.Option([name], help=settings["help"]) for name, settings in OPTIONS.items()],
    add_help_option=False,
    help="Check offline that exported events are complete and unaltered.",
)
