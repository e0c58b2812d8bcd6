"""Proves a ledger, or says where it is broken: reading only, without the pen, while it is written.

What it is not: a repair, nor trust in any table.  Everything is derived again from the bodies.
"""

from collections.abc import Sequence
from pathlib import Path

from tildawn.errors import HouseTooNew, HouseUnusable, LedgerBroken, StoreFull
from tildawn.facts.fact import Registry
from tildawn.ledger.expectation import NOTHING, Outside
from tildawn.ledger.fold import Projection
from tildawn.ledger.keyring import SIGNING
from tildawn.ledger.layout import Layout
from tildawn.ledger.sqlite.audit import Audit
from tildawn.ledger.sqlite.seal_audit import SealAudit
from tildawn.ledger.verdict import State, Verdict
from tildawn.ledger.verified import Verified


def verify(
    folder: Path,
    *,
    registry: Registry,
    projections: Sequence[Projection],
    hashes_only: bool = False,
    since: Verified | None = None,
    outside: Outside = NOTHING,
) -> Verdict:
    """Check a house from its first fact on.

    It finds any change of what is read, but for one: a ledger cut off at its end, together
    with its head, looks like a shorter ledger.  Only an expectation from outside, such as an
    older size and root, shows that: give it as ``outside``.

    Args:
        folder: the house; another process may be writing to it.
        registry: the kinds of facts.
        projections: the folds to compare with; tables of others are not judged.
        hashes_only: chain, tree, marks, signatures and canonical form, without payloads,
            projections and what only the archive has.
        since: where an earlier check came to; hashes only, and only of what follows.
        outside: what is known about the ledger from outside.

    Returns:
        Proven; or broken, with the first fact concerned and what is wrong; or not provable, with
        what is missing.

    Raises:
        Nothing.
    """
    layout = Layout(Path(folder))
    if layout.restore_mark.exists():
        what = "a restore was cut off, and is finished by who writes next"
        return Verdict(state=State.NOT_PROVABLE, what=what)
    if not layout.database.is_file():
        if layout.founded.exists():
            return Verdict(state=State.BROKEN, what=f"{layout.database} is gone")
        return Verdict(state=State.NOT_PROVABLE, what=f"there is no house in {layout.folder}")
    audit = Audit(layout, registry, tuple(projections))
    try:
        judged = SIGNING in projections
        seals = SealAudit(layout, registry, outside=outside, judged=judged)
        return audit.run(seals, hashes_only=hashes_only or since is not None, since=since)
    except LedgerBroken as error:
        seq = error.fields.get("seq")
        return audit.verdict(State.BROKEN, error.message, seq=seq if isinstance(seq, int) else None)
    except (HouseTooNew, HouseUnusable, StoreFull) as error:
        return audit.verdict(State.NOT_PROVABLE, error.message)
    finally:
        audit.close()
