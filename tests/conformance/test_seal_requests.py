"""Requests to seal a log now, in every store: they grow, are refused and judged anew, and end with the seal that answers them."""

from aegis_stream.domain.merkle import EMPTY
from aegis_stream.domain.organization import ProofMode
from aegis_stream.store import tree
from aegis_stream.store.tree import SealedTree
from support.clock import T0
from support.sql import raw
from support.stores import append_to, events


async def asked(store) -> list[int]:
    """Return up to where logs are to be sealed."""
    return [up_to for up_to, _ in await store.db.read(tree.asked_states)]


async def test_a_request_lives_until_a_seal_answers_it(store, org):
    """The furthest request counts, a refused one waits until somebody asks again, and a seal that covers less leaves it."""
    await append_to(store.log, org, events(1, 5), T0)
    for up_to in (3, 5, 4):
        await store.db.write(lambda unit, up_to=up_to: tree.ask_seal(unit, org, up_to))
    furthest = await asked(store)
    await store.db.write(lambda unit: tree.refuse_seal(unit, org, "rows were changed"))
    refused = await asked(store), await store.db.read(lambda unit: tree.seal_refusal(unit, org))
    await store.db.write(lambda unit: tree.ask_seal(unit, org, 5))
    again = await asked(store), await store.db.read(lambda unit: tree.seal_refusal(unit, org))
    ends = []
    for base in (4, 5):
        made = SealedTree(base, f"log@{base + 1}", EMPTY, "", T0)
        await store.db.write(lambda unit, made=made: tree.store_seal(unit, org, None, made, {}))
        rows = await store.db.read(lambda unit: raw(unit).rows("SELECT up_to FROM seal_requests"))
        ends.append((await asked(store), rows))

    assert furthest == [5]
    assert refused == ([], "rows were changed")
    assert again == ([5], "")
    assert ends == [([5], [(5,)]), ([], [])]


async def test_a_log_that_is_not_sealed_is_not_asked_for(store, org):
    """A request for a log whose mode is off waits until the mode is another one."""
    await append_to(store.log, org, events(1, 5), T0)
    await store.db.write(lambda unit: tree.ask_seal(unit, org, 5))
    await store.db.write(lambda unit: tree.set_mode(unit, org, ProofMode.OFF))
    off = await asked(store)
    await store.db.write(lambda unit: tree.set_mode(unit, org, ProofMode.SEALED))

    assert off == []
    assert await asked(store) == [5]
