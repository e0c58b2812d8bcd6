"""Proves a ledger, or says where it is broken: reading only, without the pen, while it is written.

What it is not: a repair, nor trust in any table.  Everything is derived again from the bodies.
"""

from collections.abc import Sequence
from pathlib import Path

from tildawn.errors import HouseTooNew, HouseUnusable, LedgerBroken
from tildawn.facts.fact import Registry
from tildawn.ledger.fold import Projection
from tildawn.ledger.layout import Layout
from tildawn.ledger.sqlite.audit import Audit
from tildawn.ledger.verdict import State, Verdict


def verify(
    folder: Path,
    *,
    registry: Registry,
    projections: Sequence[Projection],
    hashes_only: bool = False,
) -> Verdict:
    """Check a house from its first fact on.

    It finds any change of what is read, but for one: a ledger cut off at its end, together
    with its head, looks like a shorter ledger.  Only an expectation from outside, such as an
    older size and root, shows that.

    Args:
        folder: the house; another process may be writing to it.
        registry: the kinds of facts.
        projections: the folds to compare with; tables of others are not judged.
        hashes_only: chain, tree and marks, without canonical form, payloads and projections.

    Returns:
        Proven; or broken, with the first fact concerned and what is wrong; or not provable, with
        what is missing.

    Raises:
        Nothing.
    """
    layout = Layout(Path(folder))
    if not layout.database.is_file():
        if layout.founded.exists():
            return Verdict(state=State.BROKEN, what=f"{layout.database} is gone")
        return Verdict(state=State.NOT_PROVABLE, what=f"there is no house in {layout.folder}")
    audit = Audit(layout, registry, tuple(projections))
    try:
        return audit.run(hashes_only=hashes_only)
    except LedgerBroken as error:
        seq = error.fields.get("seq")
        return audit.verdict(State.BROKEN, error.message, seq=seq if isinstance(seq, int) else None)
    except (HouseTooNew, HouseUnusable) as error:
        return audit.verdict(State.NOT_PROVABLE, error.message)
    finally:
        audit.close()
