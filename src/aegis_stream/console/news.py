"""By which numbers a list sees that it has new rows; pure. The page holds the number of its moment, the stream tells the newer one."""

from collections.abc import Iterator, Sequence

from aegis_stream.control.overview import Overview
from aegis_stream.domain.standing import Standing


def news_of(found: Overview, shown: Sequence[Standing]) -> dict[str, int]:
    """Return the numbers by key; each only grows while rows are added.

    "head" and "destinations" count rows; "failed" and "attempts" are times of the newest attempt, in microseconds. For each of
    `shown` there are "dst_….letters", which counts rows, and "dst_….attempts" and "dst_….failed".
    """
    news = {"head": found.organization.head, "destinations": len(found.standings)}
    for name in ("failed", "attempts"):
        news[name] = max((dict(_attempts(one))[name] for one in found.standings), default=0)
    for one in shown:
        news[f"{one.dst_id}.letters"] = one.dead_letters
        news |= {f"{one.dst_id}.{name}": at for name, at in _attempts(one)}
    return news


def _attempts(one: Standing) -> Iterator[tuple[str, int]]:
    yield "failed", one.last_error_at or 0
    yield "attempts", max(one.last_error_at or 0, one.last_success_at or 0)
