"""Promises about turns: holders come one after the other, and nobody keeps a turn that is not wanted."""

from aegis_stream.front.turns import Turns


def test_holders_take_turns():
    """Whoever has many waiting gets one turn, then all others get theirs."""
    turns, begun = Turns(1), []
    assert turns.take()
    for name in ("a1", "a2", "a3", "b1", "c1"):
        turns.wait(name[0], name, lambda name=name: begun.append(name) or True)

    for _ in range(5):
        turns.end()

    assert begun == ["a1", "b1", "c1", "a2", "a3"]
    assert not turns.take(), "the last one has its turn"
    turns.end()
    assert turns.take()


def test_a_turn_that_is_not_wanted_goes_on():
    """Those who have left, or do not want their turn, cost nothing: the next one begins at once."""
    turns, begun = Turns(1), []
    turns.take()
    turns.wait("a", "gone", lambda: False)
    turns.wait("a", "left", lambda: begun.append("left") or True)
    turns.wait("a", "next", lambda: begun.append("next") or True)
    turns.leave("a", "left")
    turns.leave("b", "unknown")

    turns.end()

    assert begun == ["next"]


def test_all_turns_are_free_in_the_end():
    """When nobody waits, a turn that ends is free."""
    turns = Turns(2)
    assert [turns.take() for _ in range(3)] == [True, True, False]
    turns.end()
    turns.end()

    assert [turns.take() for _ in range(3)] == [True, True, False]
