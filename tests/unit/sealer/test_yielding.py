"""When the sealer rests: only where it had to wait for a processor, and for a minute at most."""

import pytest

from aegis_stream.sealer import yielding as module
from aegis_stream.sealer.yielding import PATIENCE_S, REST, REST_LONGEST_S, Ran, Yielding, ran


class Machine:
    """A machine whose clock and processors a test moves."""

    def __init__(self) -> None:
        self.now_s, self.had = 0.0, Ran(5.0, 1.0)
        self.yielding = Yielding(lambda: self.now_s, lambda: self.had)

    def seal(self, *, ran_s: float, waited_s: float) -> float:
        """Seal, and return how long the sealer rests then."""
        self.yielding.begin()
        self.had = Ran(self.had.ran_s + ran_s, self.had.waited_s + waited_s)
        self.now_s += ran_s + waited_s
        return self.yielding.rest_s()


def test_with_a_processor_to_spare_it_never_rests():
    """A seal that waited for a processor for a tenth of its time at most is followed by the next at once."""
    machine = Machine()
    assert machine.seal(ran_s=0.01, waited_s=0.0) == 0
    assert machine.seal(ran_s=0.01, waited_s=0.0009) == 0


def test_where_it_had_to_wait_it_takes_little_of_a_processor():
    """The rest is a hundred times what the seal ran, and at most five seconds."""
    machine = Machine()
    assert machine.seal(ran_s=0.01, waited_s=0.0011) == pytest.approx(REST * 0.01)
    assert machine.seal(ran_s=0.5, waited_s=1) == REST_LONGEST_S


def test_after_a_minute_behind_it_rests_no_more_until_it_has_caught_up():
    """Else a machine that is always busy would never be sealed."""
    machine = Machine()
    assert machine.seal(ran_s=0.01, waited_s=1) > 0
    machine.now_s += PATIENCE_S - 1
    assert machine.seal(ran_s=0.01, waited_s=1) == 0
    machine.yielding.caught_up()
    assert machine.seal(ran_s=0.01, waited_s=1) > 0


def test_a_system_that_does_not_tell_has_a_processor_to_spare(monkeypatch, tmp_path):
    """Without the kernel's figures, or with others, the time of the thread counts and no waiting."""
    monkeypatch.setattr(module, "SCHEDULED", tmp_path / "missing")
    assert ran().waited_s == 0
    (tmp_path / "missing").write_text("no figures")
    assert ran().waited_s == 0
    (tmp_path / "missing").write_text("2000000000 500000000 7\n")
    assert ran() == Ran(2.0, 0.5)


def test_the_kernel_tells_how_long_this_thread_ran():
    """Work makes the figure grow."""
    before = ran()
    sum(range(300_000))
    assert ran().ran_s > before.ran_s
