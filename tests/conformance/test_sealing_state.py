"""What the sealer says of itself, in every store: who looks on sees that it keeps up, is behind, refuses a log, or is gone."""

from aegis_stream.domain.organization import ProofMode
from aegis_stream.sealer.reports import REPORT_S, Reports
from aegis_stream.store import sealing_state
from aegis_stream.store.sealing_state import SILENT_US, SealingReport
from support.clock import T0
from support.sealing import SECOND, seal_once, sealing_deps, set_mode
from support.stores import add_organization, append_to, events


class Seconds:
    """A clock that a test moves."""

    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


async def totals(store):
    """Return what the metrics show."""
    return await store.db.read(sealing_state.totals)


async def test_a_sealer_that_never_looks_is_missed(store):
    """The time counts from when one was to run, not from its first look; a second start changes nothing."""
    assert await totals(store) == (None, 0, 0)
    for at in (T0, T0 + SECOND):
        await store.db.write(lambda unit, at=at: sealing_state.begin(unit, at))

    [report, *_] = await totals(store)

    assert report == SealingReport(T0, T0, 0)
    assert (report.is_silent(T0 + SILENT_US), report.is_silent(T0 + SILENT_US + 1)) == (False, True)
    assert report.lag_s(T0 + 90 * SECOND) == 90
    assert report.lag_s(T0 - SECOND) == 0


async def test_every_stored_seal_is_counted(store, org, tmp_path):
    """Also one that signs the same tree again; one that was overtaken is not."""
    deps = sealing_deps(store, tmp_path)
    await append_to(store.log, org, events(1, 5), T0)

    for _ in range(3):
        await seal_once(deps, store, org)

    assert (await totals(store)).seals == 3


async def test_a_refused_log_is_noted_until_it_is_sealed(store, org):
    """Each reason counts once, however often it is met, also by the next sealer; a log that is switched off is not refused any more."""
    first, second = Reports(store.db, store.clock), Reports(store.db, store.clock)
    other = await add_organization(store, "org_b")
    for reports in (first, second):
        for reason in ("an older copy", "an older copy", "rows were changed"):
            store.clock.at += SECOND
            await reports.begin_look()
            await reports.refused(org, reason)
    store.clock.at += SECOND
    await first.refused(other, "its key does not open")

    found = await store.db.read(sealing_state.refusals)
    assert [(one.org_id, one.reason) for one in found] == [
        ("org_a", "rows were changed"),
        ("org_b", "its key does not open"),
    ]
    assert (await totals(store)).refusals == 5
    one = await store.db.read(lambda unit: sealing_state.refusal_of(unit, org))
    assert (one.reason, one.since) == ("rows were changed", store.clock.at - SECOND)

    await first.begin_look()
    await first.sealed(org)
    assert await store.db.read(lambda unit: sealing_state.refusal_of(unit, org)) is None
    await set_mode(store, other, ProofMode.OFF)
    assert await store.db.read(sealing_state.refusals) == []
    assert await store.db.read(lambda unit: sealing_state.refusal_of(unit, other)) is None


async def test_a_report_is_written_when_it_says_something_new(store, org):
    """Every ten seconds, and at once when the sealer falls behind, refuses a log, or has caught up."""
    seconds = Seconds()
    reports = Reports(store.db, store.clock, seconds)

    async def look(at_s, lag_events, *, is_behind=False, refused=False):
        seconds.at, store.clock.at = at_s, T0 + int(at_s * SECOND)
        await reports.begin_look()
        if refused:
            await reports.refused(org, "older")
        await reports.looked(lag_events, is_behind=is_behind)
        found = await store.db.read(sealing_state.read_report)
        return [(one - T0) // SECOND for one in found[:2]], found.lag_events

    assert await look(0, 7) == ([0, 0], 7)
    assert await look(1, 8) == ([0, 0], 7)
    assert await look(REPORT_S, 9) == ([10, 10], 9)
    assert await look(11, 5000, is_behind=True) == ([11, 10], 5000)
    assert await look(12, 6000, is_behind=True) == ([11, 10], 5000)
    assert await look(13, 3) == ([13, 13], 3)
    assert await look(14, 4, refused=True) == ([14, 13], 4)
    assert await look(15, 4) == ([15, 15], 4)

    seconds.at, store.clock.at = 40, T0 + 40 * SECOND
    await reports.sealed(org)
    assert await store.db.read(sealing_state.read_report) == (T0 + 40 * SECOND, T0 + 15 * SECOND, 4)
