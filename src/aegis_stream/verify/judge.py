"""The second reading of the exports: looks up every event in the proven leaves of the logs."""

from __future__ import annotations

from typing import List

from .content import Unreadable, loads
from .demands import KEPT, Demands
from .fields import field, text_of
from .findings import SHOWN_MAX, Findings
from .gather import Gathered, gather, organization_of
from .log import Log
from .proven import read_values
from .read import Export, Line
from .shapes import Candidates, events_of
from .tree import leaf_of


def judge(exports: List[Export], demands: Demands) -> Findings:
    """Check that these exports, taken together, hold every event of their logs unaltered.

    Reads them twice. Raises OSError if one cannot be read.
    """
    gathered = gather(exports)
    findings = Findings()
    logs = [Log(origin, gathered, demands) for origin in _origins(gathered, demands)]
    try:
        for export in exports:
            for line in export.lines():
                findings.lines += 1
                _look_up(line, export.name, logs, findings)
        findings.logs = [log.conclude() for log in logs]
        findings.not_compared = _not_compared(logs, demands)
        findings.broken_checkpoints = gathered.broken
    finally:
        for log in logs:
            log.proven.close()
        for parts in gathered.parts.values():
            parts.close()
    return findings


def _not_compared(logs: List[Log], demands: Demands) -> List[str]:
    """Return the exports, and the origins of kept checkpoints, that none of the logs could be compared with."""
    compared = {source for log in logs for source in log.compared}
    origins = {log.found.origin for log in logs}
    names = [
        one.note.origin if one.source == KEPT else one.source
        for one in demands.kept
        if (one.note.origin not in origins if one.source == KEPT else one.source not in compared)
    ]
    return list(dict.fromkeys(names))


def _origins(gathered: Gathered, demands: Demands) -> List[str]:
    """Return the logs that are looked at: those of the given keys, else all that have a checkpoint, or of which one was kept."""
    kept = [one.note.origin for one in demands.kept if one.source == KEPT]
    named = [one.name for one in demands.keys] or [*gathered.notes, *kept]
    wanted = [
        one for one in named if not demands.organization or organization_of(one) == demands.organization
    ]
    return list(dict.fromkeys(wanted))


def _look_up(line: Line, name: str, logs: List[Log], findings: Findings) -> None:
    if not line.problem:
        leaf = leaf_of(line.text)
        for log in logs:
            if log.proven.index.find(leaf) >= 0:
                log.count_exact(leaf)
                return
    problem = line.problem
    if not problem:
        try:
            for candidates in events_of(line.text.decode()):
                _judge_event(candidates, f"{name}:{line.number}", logs, findings)
        except Unreadable as error:
            problem = str(error)
        except UnicodeDecodeError:
            problem = "is not UTF-8"
    if problem:
        findings.unreadable_count += 1
        if len(findings.unreadable) < SHOWN_MAX:
            findings.unreadable.append((f"{name}:{line.number}", problem))


def _judge_event(candidates: Candidates, place: str, logs: List[Log], findings: Findings) -> None:
    for log in logs:
        match = log.proven.match(candidates)
        if match is not None:
            log.count(match.level, log.proven.tick(match))
            return
    values = read_values(candidates)
    if not values:
        raise Unreadable(_why(candidates))
    event = next((value for _, value in values if field(value, "event", "id") is not None), values[0][1])
    organization = text_of(event, "organization", "id")
    own = [log for log in logs if not organization or log.organization == organization]
    if not own:
        findings.foreign += 1
        return
    # A log that began again, after an older database was put in place, has a newest checkpoint event of its own.
    chosen = next((log for log in own if log.is_newest(event, candidates)), own[0])
    chosen.add_stray(event, candidates, place)


def _why(candidates: Candidates) -> str:
    for one in candidates:
        if one.text:
            loads(one.text)
    return "is no JSON object"
