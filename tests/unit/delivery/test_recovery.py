"""When dead letters are redriven by themselves: promises of delivery/recovery.py."""

from aegis_stream.delivery.recovery import REDRIVE_PAUSE_S, Recovery
from aegis_stream.domain.delivery import AUTO_REDRIVE_MAX
from aegis_stream.domain.ids import Micros

NOW = Micros(1_780_000_000_000_000)


def test_a_large_redrive_takes_several_settlements():
    """Each settlement takes its part, all by the same time of death, until no dead letter is left."""
    recovery = Recovery(enabled=True, ailing=True)

    begun = recovery.begin(2 * AUTO_REDRIVE_MAX + 1, now=NOW, now_s=5.0)

    assert begun
    parts = [(recovery.under_way, recovery.take()) for _ in range(4)]
    assert parts == [(True, NOW), (True, NOW), (True, NOW), (False, None)]


def test_a_redrive_of_as_many_as_one_settlement_takes_is_over_with_it():
    """Exactly AUTO_REDRIVE_MAX dead letters need one settlement, and no empty one after it."""
    recovery = Recovery(enabled=True, ailing=True)
    recovery.begin(AUTO_REDRIVE_MAX, now=NOW, now_s=5.0)

    assert [recovery.take() for _ in range(2)] == [NOW, None]


def test_a_second_redrive_waits_for_the_pause():
    """A recovery soon after a redrive is owed one, which is due when the pause is over, and then begins."""
    recovery = Recovery(enabled=True, ailing=True)
    recovery.begin(1, now=NOW, now_s=5.0)
    recovery.take()

    early = recovery.begin(1, now=NOW, now_s=6.0)
    due_at_s = recovery.due_at_s
    late = recovery.begin(1, now=Micros(NOW + 1), now_s=5.0 + REDRIVE_PAUSE_S)

    assert (early, due_at_s, late) == (False, 5.0 + REDRIVE_PAUSE_S, True)
    assert recovery.take() == NOW + 1
    assert recovery.due_at_s is None


def test_a_wall_clock_that_steps_back_delays_no_redrive():
    """The pause is measured by the event loop's time: a wall clock a year back changes nothing."""
    recovery = Recovery(enabled=True, ailing=True)
    recovery.begin(1, now=NOW, now_s=5.0)

    assert recovery.begin(1, now=Micros(1), now_s=5.0 + REDRIVE_PAUSE_S)


def test_nothing_begins_without_dead_letters_or_when_switched_off():
    """Where nothing died, or AEGIS_AUTO_REDRIVE is off, a recovery redrives nothing and owes nothing."""
    nothing_died, off = Recovery(enabled=True, ailing=True), Recovery(enabled=False, ailing=True)

    assert not nothing_died.begin(0, now=NOW, now_s=5.0)
    assert not off.begin(9, now=NOW, now_s=5.0)
    assert (nothing_died.is_owed, off.is_owed, off.under_way) == (False, False, False)
