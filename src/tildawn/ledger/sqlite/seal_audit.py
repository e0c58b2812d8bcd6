"""The part of a check that compares the tree with what was signed, or kept outside.

What it is not: the tree; `tildawn.ledger.sqlite.audit` derives that from the bodies, and asks
here at each size that something was said about.
"""

from collections import defaultdict

from tildawn.errors import LedgerBroken, ProofBroken
from tildawn.facts.fact import Registry
from tildawn.ledger.expectation import NOTHING, Expectation, Outside, signed_by
from tildawn.ledger.keyring import Keyring, may_say_keys, said_of_keys
from tildawn.ledger.layout import Layout
from tildawn.ledger.note import parse_note
from tildawn.ledger.place import read_note
from tildawn.ledger.sqlite.connection import Database


class SealAudit:
    """What was said about the tree of some size; ``due`` has the sizes that are still to come."""

    def __init__(
        self,
        layout: Layout,
        registry: Registry,
        *,
        outside: Outside = NOTHING,
        judged: bool,
    ) -> None:
        """Read the second place, before the database, so that it cannot be before it.

        Args:
            layout: of the house.
            registry: the kinds of facts.
            outside: what is known from outside.
            judged: whether this is a house that signs.

        Raises:
            LedgerBroken: the second place holds no checkpoint.
        """
        self.ring = Keyring()
        self.due: dict[int, list[Expectation]] = defaultdict(list)
        #: The newest size that a signature or an expectation was found to hold for.
        self.good = 0
        #: The newest checkpoint of the database that holds.
        self.sealed = 0
        self._layout = layout
        self._registry = registry
        self._judged = judged
        self._keys = outside.keys
        self._second = 0
        self._rows: set[int] = set()
        for one in outside.expected:
            self.due[one.size].append(one)
        if judged:
            self._read_second()

    def read(self, database: Database, start: int, stop: int) -> None:
        """Take up the checkpoints of the database over more than ``start`` facts, up to ``stop``.

        Raises:
            LedgerBroken: one is no signed note, or is of another size than its row.
        """
        if not self._judged:
            return
        sql = "SELECT size, note FROM checkpoint WHERE size > ? AND size <= ?"
        for size, text in database.execute(sql, (start, stop)).fetchall():
            where = f"the checkpoint of {size} facts in the database"
            try:
                one = signed_by(where, parse_note(text))
            except ProofBroken as error:
                message = f"{where} is damaged: {error.message}"
                raise LedgerBroken(message, seq=self.good) from error
            if one.size != size:
                message = f"{where} was signed over {one.size}"
                raise LedgerBroken(message, seq=self.good)
            self.due[size].append(one)
            self._rows.add(size)

    def read_newest(self, database: Database, stop: int) -> None:
        """Take up the newest checkpoint over at most ``stop`` facts.

        Raises:
            LedgerBroken: it is no signed note, or is of another size than its row.
        """
        sql = "SELECT max(size) FROM checkpoint WHERE size <= ?"
        for (size,) in database.execute(sql, (stop,)).fetchall():
            if size is not None:
                self.read(database, size - 1, size)

    def learn(self, seq: int, body: bytes) -> None:
        """Take up the keys that a fact names.

        Raises:
            LedgerBroken: a key is changed without the word of both keys.
            HouseTooNew: a fact is newer than this version.
        """
        if may_say_keys(body):
            said = said_of_keys(self._registry, body)
            if said is not None:
                self.ring.take(seq, said)

    def at(self, size: int, root: bytes) -> None:
        """Compare all that was said about this size.

        Raises:
            LedgerBroken: something differs; between the last that held and here.
        """
        for one in self.due.pop(size, ()):
            differs = one.differs(root, self.ring)
            if differs:
                message = f"{differs}; what was signed before holds up to {self.good} facts"
                raise LedgerBroken(message, seq=self.good)
        self.good = max(self.good, size)
        if size in self._rows:
            self.sealed = max(self.sealed, size)

    def finish(self, size: int) -> str:
        """What is missing, once all facts were read; empty when nothing is.

        Raises:
            LedgerBroken: something speaks of more facts than there are, or the newest
                checkpoint is not signed by a key that was named.
        """
        if self.due:
            longest = max(self.due)
            where = self.due[longest][0].where
            message = (
                f"the ledger ends after {size} facts, and by {where} it had {longest}:"
                " it was cut off or rolled back"
            )
            raise LedgerBroken(message, seq=size)
        if not self._judged:
            return ""
        if not self.sealed:
            named = "it names a key, but" if self.ring.spans else "it names no key, and"
            return f"nothing seals this ledger: {named} no checkpoint of it is on record"
        if not self._second:
            return f"{self._layout.checkpoint} is missing: nothing beside the database seals it"
        if self._second > self.sealed:
            return f"the checkpoint of {self._second} facts is missing in the database"
        self._check_keys()
        return ""

    def _read_second(self) -> None:
        path = self._layout.checkpoint
        try:
            note = read_note(path)
            if note is None:
                return
            one = signed_by(str(path), note)
        except (OSError, ProofBroken) as error:
            message = f"{path} cannot be used: {error}"
            raise LedgerBroken(message) from error
        self._second = one.size
        self.due[one.size].append(one)

    def _check_keys(self) -> None:
        newest = self.ring.newest
        if self._keys and newest is not None and newest.verifier not in self._keys:
            message = (
                f"the ledger is signed by another key than was named: {newest.verifier.dump()}"
            )
            raise LedgerBroken(message, seq=newest.begin - 1)
