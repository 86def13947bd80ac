r"""The search line: `dataset:aegis.preflight decision:BLOCKED user.id:alice since:2h "credit card"` and what it means; pure.

A line is terms with blanks between them, and an event must meet all of them:

    term  = word | name ":" word        word = characters without blanks and quotes | "text in quotes, with \" and \\"

A term without a name is a text that must occur in the event. The names `dataset`, `decision`, `since` and `until` have a
meaning of their own; any other name, and every name in quotes, is the path of a field.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from .event_filter import CONDITION_CHARACTERS_MAX, DECISIONS, FIELDS_MAX, WORDS_MAX, EventFilter
from .ids import SECOND, Micros
from .times import MICROS_MAX, from_datetime, from_text

LINE_CHARACTERS_MAX = 2000
"""Longest search line."""
TIME_HELP = (
    "a duration such as 15m, 2h or 7d, a day such as 2026-05-15, or a time such as 2026-05-15T10:33:21Z"
)
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
RESERVED = ("dataset", "decision", "since", "until")
"""Names that are no paths of fields, unless they are in quotes."""

_BLANK = re.compile(r"\s*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_NAME = re.compile(r'[^\s":]+')
_VALUE = re.compile(r'[^\s"]+')
_AGO = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class LineProblem(NamedTuple):
    """Why a line cannot be read.

    Args:
        start, end: the part that is wrong, as positions in the line.
        message: what is wrong, and what to do.
    """

    start: int
    end: int
    message: str


@dataclass(frozen=True, slots=True)
class SearchLine:
    """What a line asks for.

    Args:
        since, until: bounds of the time of receipt as they were written; None for none.
    """

    filter: EventFilter = field(default_factory=EventFilter)
    since: str | None = None
    until: str | None = None

    def text(self) -> str:
        """Return the line: read again it is the same."""
        wanted = self.filter
        named = [
            ("dataset", wanted.dataset),
            ("decision", wanted.decision),
            ("since", self.since),
            ("until", self.until),
        ]
        terms = [f"{name}:{_word(value, _VALUE)}" for name, value in named if value is not None]
        terms += [f"{_path(path)}:{_word(value, _VALUE)}" for path, value in wanted.fields]
        terms += [_word(word, _NAME) for word in wanted.words]
        return " ".join(terms)

    def span(self, now: Micros) -> tuple[Micros | None, Micros | None]:
        """Return the bounds of the time of receipt, both inclusive."""
        return _bound(self.since, now, at_end=False), _bound(self.until, now, at_end=True)


def parse_line(line: str) -> SearchLine | LineProblem:
    """Read a line; the first problem ends it."""
    if len(line) > LINE_CHARACTERS_MAX:
        message = f"the line has more than {LINE_CHARACTERS_MAX} characters: shorten it"
        return LineProblem(LINE_CHARACTERS_MAX, len(line), message)
    found = SearchLine()
    at = _blank_end(line, 0)
    while at < len(line):
        term = _term(line, at)
        if isinstance(term, LineProblem):
            return term
        added = _add(found, term)
        if isinstance(added, str):
            return LineProblem(at, term.end, added)
        found, at = added, _blank_end(line, term.end)
    return found


def parse_words(text: str) -> tuple[str, ...] | LineProblem:
    """Read texts with blanks between them, those in quotes as one."""
    words: list[str] = []
    at = _blank_end(text, 0)
    while at < len(text):
        read = _read_word(text, at, _VALUE)
        if isinstance(read, LineProblem):
            return read
        word, end = read
        if problem := _word_problem(word, len(words)):
            return LineProblem(at, end, problem)
        words.append(word)
        at = _blank_end(text, end)
    return tuple(words)


def check_field(path: str, value: str) -> str | None:
    """Return what is wrong with a condition on a field, None for nothing."""
    if not path:
        return "the name of a field is missing before the colon, as in user.id:alice"
    if max(len(path), len(value)) > CONDITION_CHARACTERS_MAX:
        return f"a path and its value have at most {CONDITION_CHARACTERS_MAX} characters each: shorten them"
    return None


class _Term(NamedTuple):
    """One term. is_path: the name was in quotes. name: None for a text."""

    name: str | None
    is_path: bool
    value: str
    end: int


def _term(line: str, at: int) -> _Term | LineProblem:
    if line[at] == ":":
        return LineProblem(at, at + 1, "the name of a field is missing before the colon, as in user.id:alice")
    is_quoted = line[at] == '"'
    read = _read_word(line, at, _NAME)
    if isinstance(read, LineProblem):
        return read
    first, end = read
    if line[end : end + 1] != ":":
        return _ended(line, at, _Term(None, is_quoted, first, end))
    if end + 1 == len(line) or line[end + 1].isspace():
        return LineProblem(
            at, end + 1, f"a value is missing after {line[at : end + 1]} - write {first}:value"
        )
    read = _read_word(line, end + 1, _VALUE)
    if isinstance(read, LineProblem):
        return read
    return _ended(line, at, _Term(first, is_quoted, *read))


def _ended(line: str, at: int, term: _Term) -> _Term | LineProblem:
    """Return a term if a blank or the end of the line follows."""
    if term.end == len(line) or line[term.end].isspace():
        return term
    return LineProblem(
        at, term.end + 1, "a blank is missing between two terms: add one before or after the quotes"
    )


def _read_word(line: str, at: int, bare: re.Pattern[str]) -> tuple[str, int] | LineProblem:
    if line[at] == '"':
        found = _QUOTED.match(line, at)
        if found is None:
            return LineProblem(
                at, len(line), 'the closing quote is missing (inside quotes write \\" and \\\\)'
            )
        return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL), found.end()
    plain = bare.match(line, at)
    assert plain is not None, "the caller has skipped blanks and looked at quotes and colons"
    return plain[0], plain.end()


def _blank_end(line: str, at: int) -> int:
    found = _BLANK.match(line, at)
    return found.end() if found is not None else at


def _add(found: SearchLine, term: _Term) -> SearchLine | str:
    """Return the line with one more term, or what is wrong with it."""
    if term.name is None:
        return _add_word(found, term.value)
    name = term.name.lower()
    if term.is_path or name not in RESERVED:
        return _add_field(found, term.name, term.value)
    known = {
        "dataset": found.filter.dataset,
        "decision": found.filter.decision,
        "since": found.since,
        "until": found.until,
    }
    if known[name] is not None:
        return f"{name} appears twice: keep one of them"
    return _add_named(found, name, term.value)


def _add_named(found: SearchLine, name: str, value: str) -> SearchLine | str:
    wanted = found.filter
    if name == "dataset":
        if len(value) > CONDITION_CHARACTERS_MAX:
            return f"a dataset has at most {CONDITION_CHARACTERS_MAX} characters"
        return replace(found, filter=replace(wanted, dataset=value))
    if name == "decision":
        if value.upper() not in DECISIONS:
            return f"a decision is one of {', '.join(DECISIONS)}"
        return replace(found, filter=replace(wanted, decision=value.upper()))
    if not _is_bound(value):
        return f"{name} is {TIME_HELP}"
    return replace(found, since=value) if name == "since" else replace(found, until=value)


def _add_word(found: SearchLine, word: str) -> SearchLine | str:
    words = found.filter.words
    return _word_problem(word, len(words)) or replace(
        found, filter=replace(found.filter, words=(*words, word))
    )


def _word_problem(word: str, count: int) -> str | None:
    if not word:
        return "the text between the quotes is empty: write what to look for"
    if len(word) > CONDITION_CHARACTERS_MAX:
        return f"a text has at most {CONDITION_CHARACTERS_MAX} characters: shorten it"
    return f"at most {WORDS_MAX} texts are allowed: remove some" if count == WORDS_MAX else None


def _add_field(found: SearchLine, path: str, value: str) -> SearchLine | str:
    fields = found.filter.fields
    if path in dict(fields):
        return f"{path[:100]} appears twice: keep one of them"
    if len(fields) == FIELDS_MAX:
        return f"at most {FIELDS_MAX} fields are allowed: remove some"
    return check_field(path, value) or replace(
        found, filter=replace(found.filter, fields=(*fields, (path, value)))
    )


def _word(text: str, bare: re.Pattern[str]) -> str:
    if bare.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(path: str) -> str:
    return f'"{path}"' if path.lower() in RESERVED else _word(path, _NAME)


def _is_bound(text: str) -> bool:
    try:
        return _bound(text, MICROS_MAX, at_end=False) is not None
    except ValueError:
        return False


def _bound(text: str | None, now: Micros, *, at_end: bool) -> Micros | None:
    """Return the time that a text means; None for no text, and for one that is no time from 1970 to 9999."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return Micros(max(0, now - int(ago[1]) * UNITS_S[ago[2]] * SECOND))
    if _DAY.fullmatch(text):
        moment = time.max if at_end else time.min
        at: Micros | None = from_datetime(datetime.combine(date.fromisoformat(text), moment, UTC))
    else:
        at = from_text(text)
    return at if at is not None and 0 <= at <= MICROS_MAX else None
