"""dead-letter: events that used up their attempts, through the REST API."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from .output import print_json, print_table
from .remote import BASE, LIMIT, YES, confirm, through_api
from .values import at_time

if TYPE_CHECKING:
    from .client import Client

F = TypeVar("F", bound=Callable[..., Any])

DESTINATION = click.option(
    "--destination", "destination_id", required=True, metavar="DST", help="The destination's id."
)
_ABOUT = click.option(
    "--about",
    type=click.Choice(["event", "destination"]),
    help="Only failures about the event, or about the destination.",
)
_ERROR = click.option(
    "--error", metavar="GROUP|TEXT", help="Only those with this cause: a group's id, or an error's text."
)
_BEFORE = click.option("--before", metavar="TIME", help="Only those that died before this time.")


class _Column(NamedTuple):
    head: str
    field: str


def _columns(*fields: str) -> tuple[_Column, ...]:
    return tuple(_Column(field.replace("_", " "), field) for field in fields)


_DEAD_LETTER = _columns(
    "sequence", "event_id", "attempts", "last_status_code", "about", "dead_at", "last_error"
)
_GROUP = _columns("id", "count", "share", "about", "status_code", "first_at", "last_at", "error")
_JOB = _columns("id", "action", "state", "done", "total", "eta_seconds", "started_at", "finished_at")


def _filtered(command: F) -> F:
    """Give a command the options of a filter."""
    return _ABOUT(_ERROR(_BEFORE(command)))


@click.group("dead-letter")
def dead_letter() -> None:
    """List, redrive and purge events that used up their attempts."""


@dead_letter.command("list")
@DESTINATION
@_filtered
@LIMIT
@through_api
def list_dead_letters(
    client: "Client", /, destination_id: str, *, limit: int, as_json: bool, **which: str | None
) -> None:
    """List dead letters in the order of the log."""
    path = client.org_path(BASE, destination_id, "dead-letters")
    _print(list(client.items(path, limit=limit, query=_filter(which))), _DEAD_LETTER, as_json=as_json)


@dead_letter.command("groups")
@DESTINATION
@through_api
def list_groups(client: "Client", destination_id: str, *, as_json: bool) -> None:
    """Count dead letters by their cause, the most frequent first."""
    found = client.call("GET", client.org_path(BASE, destination_id, "dead-letters", "groups"))["data"]
    _print(found, _GROUP, as_json=as_json)


@dead_letter.command("redrive")
@DESTINATION
@click.option(
    "--event",
    "event_ids",
    multiple=True,
    metavar="ID",
    help="Redrive only this event; repeatable.  [default: all]",
)
@_filtered
@click.option("--preview", is_flag=True, help="Say how many match, and start nothing.")
@through_api
def redrive_dead_letters(
    client: "Client",
    /,
    destination_id: str,
    *,
    event_ids: tuple[str, ...],
    preview: bool,
    as_json: bool,
    **which: str | None,
) -> None:
    """Send dead letters again, each with all its attempts."""
    body: dict[str, Any] = _filter(which) | ({"event_ids": list(event_ids)} if event_ids else {})
    path = client.org_path(BASE, destination_id, "dead-letters", "redrive")
    answer = client.call("POST", path, body=body, query={"preview": "true"} if preview else None)
    if as_json:
        print_json(answer)
    elif preview:
        click.echo(f"{answer['matching']} match{_about(answer['eta_seconds'])}; nothing was started")
    else:
        click.echo(_outcome("redriven", answer, destination_id))


@dead_letter.command("purge")
@DESTINATION
@click.option("--event", "event_id", metavar="ID", help="Purge only this event.  [default: all]")
@_filtered
@YES
@through_api
def purge_dead_letters(
    client: "Client",
    /,
    destination_id: str,
    *,
    event_id: str | None,
    yes: bool,
    as_json: bool,
    **which: str | None,
) -> None:
    """Delete dead letters; this cannot be undone."""
    query = _filter(which) | ({"event_id": event_id} if event_id else {})
    what = event_id or ("all dead letters that match" if query else "all dead letters")
    confirm(f"Delete {what} of {destination_id}?", yes=yes)
    answer = client.call("DELETE", client.org_path(BASE, destination_id, "dead-letters"), query=query or None)
    if as_json:
        print_json(answer)
    else:
        click.echo(_outcome("purged", answer, destination_id))


@dead_letter.command("jobs")
@DESTINATION
@click.option("--cancel", "job_id", metavar="JOB", help="Stop this job; what it has done stays done.")
@LIMIT
@through_api
def list_jobs(
    client: "Client", destination_id: str, *, job_id: str | None, limit: int, as_json: bool
) -> None:
    """List redrives and purges of many dead letters, or cancel one."""
    path = client.org_path(BASE, destination_id, "dead-letters", "jobs")
    if job_id is not None:
        client.call("DELETE", client.org_path(BASE, destination_id, "dead-letters", "jobs", job_id))
        click.echo(f"cancelled {job_id}")
        return
    _print(list(client.items(path, limit=limit)), _JOB, as_json=as_json)


def _filter(which: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the filter of these options. Raises: click.BadParameter for a wrong time."""
    at_time(which["before"], "--before")
    return {name: value for name, value in which.items() if value is not None}


def _print(found: list[dict[str, Any]], columns: tuple[_Column, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_table(
        [column.head for column in columns], [[one.get(column.field) for column in columns] for one in found]
    )


def _about(seconds: float | None) -> str:
    return f", about {seconds:.0f} s at today's rate" if seconds is not None else ""


def _outcome(word: str, answer: Mapping[str, Any], destination_id: str) -> str:
    if "job_id" not in answer:
        return f"{word} {answer[word]}"
    return (
        f"started {answer['job_id']} for {answer['total']} dead letters: "
        f"aegis dead-letter jobs --destination {destination_id} shows how far it is"
    )
