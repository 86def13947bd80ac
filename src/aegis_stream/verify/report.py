"""Says what was found, for people and as JSON. Text from exports is shown without control characters."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterable, List

from .chain import Kept
from .findings import COMPLETE, UNDECIDED, Findings, LogFindings, Range, Stray

LINES_MAX = 20
"""Most rows of a kind in the text; the JSON has up to SHOWN_MAX."""
SHOWN_CHARACTERS_MAX = 200


def text(findings: Findings) -> str:
    """Return the report for people, with a line feed at its end."""
    lines: List[str] = []
    for log in findings.logs:
        lines += _log(log)
    if findings.foreign:
        lines.append(f"  elsewhere   {findings.foreign:,} events of other organizations, not looked at")
    if findings.broken_checkpoints:
        lines.append(f"  broken      {findings.broken_checkpoints:,} checkpoint events cannot be read")
    if findings.unreadable_count:
        lines.append(f"  UNREADABLE  {findings.unreadable_count:,} lines")
        lines += [
            f"              {_shown(place)} {_shown(why)}" for place, why in findings.unreadable[:LINES_MAX]
        ]
    lines.append(f"  verdict     {verdict(findings)}")
    return "\n".join(lines) + "\n"


def verdict(findings: Findings) -> str:
    """Return the verdict in one sentence."""
    damages = [one for log in findings.logs for one in log.damages()]
    doubts = [one for log in findings.logs for one in log.doubts()]
    if not findings.logs:
        doubts.append("there is no checkpoint in the export: without one nothing can be proven")
    if findings.unreadable_count:
        doubts.append(f"{findings.unreadable_count:,} lines cannot be read")
    if findings.not_compared:
        doubts.append(
            "nothing could be compared with " + ", ".join(map(_shown, findings.not_compared[:LINES_MAX]))
        )
    if damages:
        return "NOT COMPLETE: " + ", ".join(damages)
    if findings.status == UNDECIDED:
        return "UNDECIDED: " + ", ".join(doubts)
    return "COMPLETE AND UNALTERED"


def as_json(findings: Findings) -> Dict[str, Any]:
    """Return the report for programs."""
    words = {COMPLETE: "complete", UNDECIDED: "undecided"}
    return {
        "verdict": words.get(findings.status, "not_complete"),
        "exit_status": findings.status,
        "summary": verdict(findings),
        "lines": findings.lines,
        "events_of_other_organizations": findings.foreign,
        "broken_checkpoint_events": findings.broken_checkpoints,
        "not_compared": findings.not_compared,
        "unreadable": {
            "count": findings.unreadable_count,
            "lines": [{"place": place, "reason": why} for place, why in findings.unreadable],
        },
        "logs": [_log_json(one) for one in findings.logs],
    }


# --- For people ---


def _log(log: LogFindings) -> List[str]:
    counts = log.counts
    present = f"exact {counts['exact']:,} · content {counts['content']:,} · id {counts['id']:,}"
    present += f" · by event.original {counts['original']:,}" if counts["original"] else ""
    present += f" · content not yet vouched for {counts['uncovered']:,}" if counts["uncovered"] else ""
    proven = log.end >= log.begin
    events = f"events {log.begin:,} to {log.end:,}" if proven else "no event can be proven"
    when = f"   {_time(log.begin_s)} to {_time(log.end_s)}" if proven and log.end_s is not None else ""
    lines = [f"{_shown(log.origin)}   {events}{when}", *_keys(log)]
    if proven and log.begin > log.base:
        lines.append(
            f"  begins      at {log.begin:,}: what comes before is not checked; --from says what you expect"
        )
    lines.append(
        f"  present     {log.present:,}   {present}" + (f"   twice {log.twice:,}" if log.twice else "")
    )
    lines += _rows("ALTERED", log.altered_count, (_stray(one) for one in log.altered))
    lines += _rows("ID ONLY", counts["id"] if log.by_id else 0, (_stray(one) for one in log.by_id))
    lines += _rows("MISSING", log.missing_count, (_missing(one) for one in log.missing))
    lines += _rows("GAP", len(log.gaps), (_gap(one) for one in log.gaps))
    lines += _rows(
        "erased", log.erased_count, (f"{sequence}  explained at {at}" for sequence, at in log.erased)
    )
    lines += _rows("NOT IN LOG", log.strange_count, (_stray(one) for one in log.strange))
    lines += _rows("TWO HISTORIES", len(log.differ), (_kept(one) for one in log.differ))
    lines += _rows("ENDS BEFORE", len(log.beyond), (_kept(one) for one in log.beyond))
    lines += _rows("not compared", len(log.not_compared), (_kept(one) for one in log.not_compared))
    lines += _rows(
        "WRONG SIGNATURE",
        len(log.wrong_notes),
        (f"checkpoint of {log.base + one.size - 1}" for one in log.wrong_notes),
    )
    if log.agree_count:
        lines.append(f"  agrees      with {log.agree_count:,} kept checkpoints")
    if log.before_count:
        lines.append(f"  before      {log.before_count:,} events before the range, not checked")
    if log.test_count:
        lines.append(f"  tests       {log.test_count:,} test events: they are in no log")
    if proven:
        lines.append(f"  behind      {log.behind_count:,} events after the last checkpoint{_age(log)}")
    if log.counts["uncovered"]:
        lines.append(
            "              The next checkpoint vouches for the newest content: export again after it."
        )
    return lines


def _keys(log: LogFindings) -> List[str]:
    if not log.keys:
        return ["  signed by   an unknown key: give it with --key"]
    lines = []
    for number, key in enumerate(log.keys):
        trust = "found in the export: NOT PINNED"
        if log.pinned:
            trust = "announced by the one before" if number else "PINNED"
        lines.append(f"  signed by   {_shown(key.text)}   {trust}")
    return lines


def _rows(title: str, count: int, rows: Iterable[str]) -> List[str]:
    if not count:
        return []
    shown = [row for row, _ in zip(rows, range(LINES_MAX))]
    lines = [f"  {title:<11} {count:,}"] + [f"              {row}" for row in shown]
    more = count - len(shown)
    return lines + (
        ["              … more: --json lists up to 10,000"] if more > 0 and len(shown) == LINES_MAX else []
    )


def _stray(one: Stray) -> str:
    sequence = f"{one.sequence}  " if one.sequence else ""
    return f"{sequence}{_shown(one.event_id) or '(no id)'}  {_shown(one.place)}{_between(one.range)}"


def _missing(one: Range) -> str:
    replay = f"aegis destination replay DST --from-sequence {one.first} --to-sequence {one.last}"
    return f"{_span(one)}{_between(one)}   {replay}"


def _gap(one: Range) -> str:
    heals = f"GET …/proof/hashes?first={one.first}&last={one.last}"
    return f"{_span(one)}  their checkpoint events are missing or altered{_between(one)}   {heals}"


def _span(one: Range) -> str:
    return f"{one.first}" if one.first == one.last else f"{one.first} to {one.last}"


def _between(one: Range | None) -> str:
    if one is None or (one.after_s is None and one.before_s is None):
        return ""
    if one.after_s is None:
        return f"  (recorded before {_time(one.before_s)})"
    if one.before_s is None:
        return f"  (recorded after {_time(one.after_s)})"
    return f"  (recorded between {_time(one.after_s)} and {_time(one.before_s)})"


def _kept(one: Kept) -> str:
    return f"checkpoint of size {one.note.size} from {_shown(one.source or 'the export')}"


def _age(log: LogFindings) -> str:
    if log.end_s is None:
        return ""
    age = f"     last checkpoint {_time(log.end_s)}"
    if log.too_old_s is not None:
        return f"{age}, TOO OLD"
    return f"{age}, IN THE FUTURE" if log.from_future_s is not None else age


def _time(seconds: int | None) -> str:
    if seconds is None or not 0 <= seconds < 253402300800:
        return "(no time)"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _shown(value: str) -> str:
    """Return a text from an export without what could steer a terminal, and shortened."""
    shown = "".join(one if one.isprintable() else "?" for one in value[: SHOWN_CHARACTERS_MAX + 1])
    return shown if len(shown) <= SHOWN_CHARACTERS_MAX else shown[:SHOWN_CHARACTERS_MAX] + "…"


# --- For programs ---


def _log_json(log: LogFindings) -> Dict[str, Any]:
    return {
        "origin": log.origin,
        "status": log.status,
        "damages": log.damages(),
        "doubts": log.doubts(),
        "first": log.begin,
        "last": log.end,
        "first_checkpoint_at": log.begin_s,
        "last_checkpoint_at": log.end_s,
        "pinned": log.pinned,
        "keys": [one.text for one in log.keys],
        "present": log.present,
        "evidence": dict(log.counts),
        "twice": log.twice,
        "altered": {"count": log.altered_count, "events": [_stray_json(one) for one in log.altered]},
        "by_id_only": {"count": log.counts["id"], "events": [_stray_json(one) for one in log.by_id]},
        "missing": {"count": log.missing_count, "ranges": [_range_json(one) for one in log.missing]},
        "gaps": [_range_json(one) for one in log.gaps],
        "erased": {"count": log.erased_count, "events": [list(one) for one in log.erased]},
        "not_in_log": {"count": log.strange_count, "events": [_stray_json(one) for one in log.strange]},
        "behind": log.behind_count,
        "before": log.before_count,
        "test_events": log.test_count,
        "two_histories": [_kept_json(one) for one in log.differ],
        "ends_before": [_kept_json(one) for one in log.beyond],
        "not_compared": [_kept_json(one) for one in log.not_compared],
        "agrees": log.agree_count,
        "wrong_signatures": [one.size for one in log.wrong_notes],
    }


def _stray_json(one: Stray) -> Dict[str, Any]:
    found: Dict[str, Any] = {"id": one.event_id, "place": one.place}
    if one.range is not None:
        found |= {"sequence": one.sequence, **_range_json(one.range)}
    return found


def _range_json(one: Range) -> Dict[str, Any]:
    return {
        "first": one.first,
        "last": one.last,
        "recorded_after": one.after_s,
        "recorded_before": one.before_s,
    }


def _kept_json(one: Kept) -> Dict[str, Any]:
    note = one.note
    return {"size": note.size, "root": note.root.hex(), "source": one.source, "note": note.text}
