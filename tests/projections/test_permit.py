"""The tables of permits: what a fold makes of each fact, and that a rebuild makes the same.

What it is not: the door, whose facts these are.
"""

from tildawn.facts.call import CallDispatched
from tildawn.facts.fact import Fact, FactData
from tildawn.facts.permit import PermitMinted, PermitRefused, PermitRevoked, TokenMinted
from tildawn.ledger.sqlite.projector import Memory
from tildawn.projections.permit import PERMIT, PermitRow, PermitUseRow, RefusedRow, TokenRow
from tildawn.units import Micros, Seq


def folded(*said: FactData) -> Memory:
    """The tables after these facts."""
    memory = Memory([PERMIT])
    for seq, data in enumerate(said):
        at = Micros(1_000 + seq)
        memory.fold(Seq(seq), Fact(at=at, kind=type(data).__name__, v=1, data=data))
    return memory


def sent(permit: str) -> CallDispatched:
    """A use."""
    return CallDispatched(
        name="c", route="r", attempt=1, key="k", args="a", repeat="safe", deadline=0, timeout_ms=0,
        permit=permit,
    )  # fmt: skip


def calls(memory: Memory) -> dict[str, int]:
    return {row.permit: row.calls for row in memory.rows.values() if isinstance(row, PermitUseRow)}


def test_a_use_is_counted_for_the_whole_chain_and_for_nobody_else() -> None:
    """Brothers do not pay for each other; parents pay for all."""
    memory = folded(
        PermitMinted(permit="a"), PermitMinted(permit="b", parent="a"),
        PermitMinted(permit="c", parent="b"), PermitMinted(permit="d", parent="a"),
        sent("c"), sent("c"), sent("d"), sent(""), sent("nobody"),
    )  # fmt: skip
    assert calls(memory) == {"a": 3, "b": 2, "c": 2, "d": 1}
    row = memory.get(PermitRow, "c")
    assert row is not None
    assert row.chain == "c\nb\na"


def test_a_permit_whose_parent_is_not_on_record_keeps_it_in_its_chain() -> None:
    """Else it would be one without a parent, and wider than it was made."""
    row = folded(PermitMinted(permit="b", parent="lost")).get(PermitRow, "b")
    assert row is not None
    assert row.chain == "b\nlost"


def test_the_first_revocation_counts() -> None:
    """A second one would make it look as if it had ended later."""
    memory = folded(PermitMinted(permit="a"), PermitRevoked(permit="a"), PermitRevoked(permit="a"))
    row = memory.get(PermitUseRow, "a")
    assert row is not None
    assert row.revoked == 1


def test_refusals_are_counted_and_kept_also_of_what_is_not_on_record() -> None:
    """Who tried what is as much a part of the night as what was done."""
    memory = folded(
        PermitMinted(permit="a"),
        PermitRefused(permit="a", operation="shell", why="operation", route="shell:rm"),
        PermitRefused(permit="ghost", operation="chat", why="unknown"),
    )
    row = memory.get(PermitUseRow, "a")
    assert row is not None
    assert row.refused == 1
    kept = [row.why for row in memory.rows.values() if isinstance(row, RefusedRow)]
    assert kept == ["operation", "unknown"]


def test_a_token_is_its_digest() -> None:
    """Nothing else of it is anywhere."""
    row = folded(TokenMinted(digest="d", permit="a")).get(TokenRow, "d")
    assert row is not None
    assert row.permit == "a"
