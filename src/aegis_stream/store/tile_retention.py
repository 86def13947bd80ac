"""Removes the leaf hashes of events that are long gone, in small steps: only of full tiles, and from the beginning of a log.

The upper levels of the tree stay, so every proof that begins behind the last tile that went holds, and the log goes on.

Source: c2sp.org/tlog-tiles, on pruning.
"""

from aegis_stream.domain.ids import Micros, OrganizationNo
from aegis_stream.domain.merkle import TILE_WIDTH

from .database import Unit
from .tree import SealedTree

TREES_PER_STEP = 20
"""Most logs of which one transaction removes tiles."""
TILES_PER_STEP = 50
"""Most tiles of one log that it removes, 8 KB each."""


def remove_old_tiles(unit: Unit, horizon: Micros) -> int:
    """Remove some tiles of leaves that got their last hash before `horizon`, and whose events are gone.

    Returns: how many went; 0 when there is nothing left to do for now.
    """
    removed = 0
    for organization_no, base, size, oldest, sealed_at in unit.rows(
        "trees_with_old_tiles", (horizon, TREES_PER_STEP)
    ):
        found = unit.rows("first_leaf_tiles", (organization_no, base, TILES_PER_STEP))
        # One after the other, so that no hole is left where a clock went back.
        last = -1
        for tile, stored_at in found:
            end = (tile + 1) * TILE_WIDTH
            old = (sealed_at if stored_at is None else stored_at) < horizon
            if not old or end > size or base + end >= oldest:
                break
            last = tile
        removed += unit.run("delete_leaf_tiles", (organization_no, base, last))
    return removed


def first_leaf(unit: Unit, organization_no: OrganizationNo, found: SealedTree) -> int:
    """Return the index of the first leaf of a log whose hash is stored: 0 but where tiles were removed."""
    row = unit.row("first_leaf_tile", (organization_no, found.base))
    tile = found.tree.size // TILE_WIDTH if row is None or row[0] is None else int(row[0])
    return tile * TILE_WIDTH
