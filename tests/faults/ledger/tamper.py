"""Somebody with the files of a house and this specification, who changes what was recorded.

What it is not: a vandal.  Whatever hashes, tables and signatures they can make anew, they do.

Usage: tamper.py FOLDER FIRST COUNT; each number is the seed of one attack.  Prints one line of
JSON: how many attacks there were of each kind, and those that a verifier did not find.
"""

import functools
import importlib.util
import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast

import apsw

from tildawn.facts import erasure
from tildawn.facts.fact import Registry
from tildawn.ids import Ids
from tildawn.ledger.archive import Archive
from tildawn.ledger.chain import GENESIS, Frontier, leaf_of, link
from tildawn.ledger.checkpoint import Checkpoint
from tildawn.ledger.expectation import NOTHING, Outside, signed_by
from tildawn.ledger.note import Signer, parse_note
from tildawn.ledger.rotation import rotate_key
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.rebuild import rebuild
from tildawn.ledger.verify import verify
from tildawn.testing import archive
from tildawn.testing.archive import FACTS, WIDTH, seal_all, small_segments
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import SIGNED, note, open_notebook


SCRIPT = Path(__file__).parents[3] / "docs/spec/verify_ledger.py"
KINDS = Registry([*archive.REGISTRY.kinds().values(), *erasure.KINDS])
FOLDS = (*SIGNED, archive.SEGMENT)
SEALED = 3
"""Segments of the house."""


class Loot(NamedTuple):
    """What an attacker finds: the house, what it is made of, older copies of it, its last key."""

    house: Path
    older: tuple[Path, ...]
    #: All of it made anew, with keys of the attacker's own.
    forged: Path
    seed: bytes
    origin: str
    #: How many facts have gone into segments.
    sealed: int


class Attacker:
    """Changes a copy of the house; `put_back` undoes it all."""

    def __init__(self, loot: Loot, house: Path) -> None:
        """Take a copy to work on."""
        self.loot, self.house = loot, house
        shutil.copytree(loot.house, house)
        self._files = {path: path.read_bytes() for path in house.rglob("*") if path.is_file()}
        self._touched: set[Path] = set()
        self._copied = False

    def put_back(self) -> None:
        """Make the copy what the house is again."""
        if self._copied:
            shutil.rmtree(self.house)
            shutil.copytree(self.loot.house, self.house)
        else:
            for suffix in ("-wal", "-shm"):
                (self.house / f"ledger.db{suffix}").unlink(missing_ok=True)
            for path in (self.house / "ledger.db", *self._touched):
                path.unlink(missing_ok=True)
                path.write_bytes(self._files[path])
        self._touched, self._copied = set(), False

    def copy_over(self, other: Path) -> None:
        """Put another copy of the whole house in its place."""
        shutil.rmtree(self.house)
        shutil.copytree(other, self.house)
        self._copied = True

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file."""
        self._touched.add(path)
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def remove(self, path: Path) -> None:
        """Remove a file that the house had."""
        self._touched.add(path)
        path.unlink()

    def open(self) -> Any:
        """The database without what defends it."""
        database: Any = apsw.Connection(str(self.house / "ledger.db"))
        database.execute("PRAGMA synchronous = off").fetchall()
        database.execute("BEGIN")
        self._triggers = database.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
            " AND tbl_name IN ('fact', 'checkpoint')"
        ).fetchall()
        for name, _ in self._triggers:
            database.execute(f"DROP TRIGGER {name}")
        return database

    def close(self, database: Any) -> None:
        """Put the triggers back, as somebody who hides a change would."""
        for _, sql in self._triggers:
            database.execute(str(sql))
        database.execute("COMMIT")
        database.close()

    def hash_anew(self, database: Any, *, tables: bool = True) -> Checkpoint:
        """Make every leaf, mark, head and table of the facts as they are now."""
        chain, frontier = GENESIS, Frontier()
        bodies = database.execute("SELECT seq, body FROM fact ORDER BY seq").fetchall()
        kinds: dict[tuple[str, int], int] = {}
        for seq, body in bodies:
            leaf = leaf_of(body)
            chain = link(chain, leaf)
            frontier.add(leaf)
            database.execute("UPDATE fact SET leaf = ? WHERE seq = ?", (leaf, seq))
            said = json.loads(body)
            kinds.setdefault((said["kind"], said["v"]), seq)
        size = len(bodies)
        for table in ("head", "verified"):
            database.execute(
                f"UPDATE {table} SET size = ?, chain = ?, frontier = ?",
                (size, chain, frontier.dump()),
            )
        epoch = sum(b'"kind":"PenTaken"' in body for _, body in bodies)
        database.execute("UPDATE head SET epoch = ?", (epoch,))
        for table, column, end in (
            ("mark", "size", size + 1), ("checkpoint", "size", size + 1),
            ("run_fact", "seq", size), ("payload", "id", size * 8), ("blob_use", "seq", size),
        ):  # fmt: skip
            database.execute(f"DELETE FROM {table} WHERE {column} >= ?", (end,))
        database.execute("DELETE FROM kind")
        rows = [(*kind, first) for kind, first in kinds.items()]
        database.executemany("INSERT INTO kind VALUES (?, ?, ?)", rows)
        if tables:
            database.execute("COMMIT")
            database.execute("DELETE FROM meta WHERE key LIKE 'projection:%'")
            bundles = Archive(self.house / "archive")
            rebuild(cast("Database", database), FOLDS, KINDS, archive=bundles)
            database.execute("BEGIN")
        return Checkpoint(self.loot.origin, size, frontier.root())

    def sign(self, database: Any, checkpoint: Checkpoint, seed: bytes) -> None:
        """Let the one checkpoint that is left be this one."""
        note = checkpoint.sign([Signer(checkpoint.origin, seed)]).dump()
        database.execute("DELETE FROM checkpoint")
        database.execute("INSERT INTO checkpoint VALUES (?, ?)", (checkpoint.size, note))
        self.write(self.house / "marks/checkpoint", note.encode())

    def edit_note(self, database: Any, rng: Random) -> int:
        """Change the amount of one note that is in no segment; its position."""
        rows = database.execute(
            "SELECT seq, body FROM fact WHERE seq >= ? AND instr(body, '\"Noted\"')",
            (self.loot.sealed,),
        ).fetchall()
        seq, body = rng.choice(rows)
        said = json.loads(body)
        said["data"]["amount"] = said["data"].get("amount", 1) + rng.randrange(1, 1_000)
        database.execute("UPDATE fact SET body = ? WHERE seq = ?", (canonical(said), seq))
        return int(seq)


def canonical(value: object) -> bytes:
    """As the specification writes it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def edited(attacker: Attacker, rng: Random) -> None:
    """Some byte of a body is another one."""
    database = attacker.open()
    [(size,)] = database.execute("SELECT count(*) FROM fact").fetchall()
    seq = rng.randrange(size)
    [(body,)] = database.execute("SELECT body FROM fact WHERE seq = ?", (seq,)).fetchall()
    content = bytearray(body)
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    leaf = leaf_of(bytes(content))
    sql = "UPDATE fact SET body = ?1" + (", leaf = ?3" if rng.random() < 0.5 else "")
    database.execute(
        f"{sql} WHERE seq = ?2", (bytes(content), seq, leaf)[: 3 if "?3" in sql else 2]
    )
    attacker.close(database)


def edited_inside(attacker: Attacker, rng: Random) -> None:
    """A value inside of a body is another one, in perfect form, with a leaf that fits."""
    database = attacker.open()
    seq = attacker.edit_note(database, rng)
    if rng.random() < 0.5:
        [(body,)] = database.execute("SELECT body FROM fact WHERE seq = ?", (seq,)).fetchall()
        database.execute("UPDATE fact SET leaf = ? WHERE seq = ?", (leaf_of(body), seq))
    attacker.close(database)


def deleted(attacker: Attacker, rng: Random) -> None:
    """A fact is gone, and those behind it have moved up; half of the time only it is gone."""
    database = attacker.open()
    [(size,)] = database.execute("SELECT count(*) FROM fact").fetchall()
    seq = rng.randrange(size)
    database.execute("DELETE FROM fact WHERE seq = ?", (seq,))
    if rng.random() < 0.5:
        for at in range(seq + 1, size):
            database.execute("UPDATE fact SET seq = ? WHERE seq = ?", (at - 1, at))
    attacker.close(database)


def inserted(attacker: Attacker, rng: Random) -> None:
    """A fact stands between two others; it may be the copy of one of them."""
    database = attacker.open()
    [(size,)] = database.execute("SELECT count(*) FROM fact").fetchall()
    seq, source = rng.randrange(size + 1), rng.randrange(size)
    [row] = database.execute("SELECT leaf, body FROM fact WHERE seq = ?", (source,)).fetchall()
    for at in range(size - 1, seq - 1, -1):
        database.execute("UPDATE fact SET seq = ? WHERE seq = ?", (at + 1, at))
    database.execute("INSERT INTO fact VALUES (?, ?, ?)", (seq, *row))
    attacker.close(database)


def reordered(attacker: Attacker, rng: Random) -> None:
    """Two facts have changed places."""
    database = attacker.open()
    [(size,)] = database.execute("SELECT count(*) FROM fact").fetchall()
    one, other = rng.sample(range(size), 2)
    for old, new in ((one, -1), (other, one), (-1, other)):
        database.execute("UPDATE fact SET seq = ? WHERE seq = ?", (new, old))
    attacker.close(database)


def truncated(attacker: Attacker, rng: Random) -> None:
    """The end is gone, with its head, marks and tables, and with the checkpoints that knew it."""
    cut(attacker, rng)


def cut(attacker: Attacker, rng: Random, seed: bytes | None = None) -> None:
    """Cut off the end; with the real key, sign what is left."""
    database = attacker.open()
    [(size,)] = database.execute("SELECT count(*) FROM fact").fetchall()
    keep = rng.randrange(attacker.loot.sealed + 4, size)
    database.execute("DELETE FROM fact WHERE seq >= ?", (keep,))
    checkpoint = attacker.hash_anew(database)
    if seed is not None:
        attacker.sign(database, checkpoint, seed)
    else:
        found = database.execute(
            "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1"
        ).fetchall()
        for (note,) in found:
            attacker.write(attacker.house / "marks/checkpoint", str(note).encode())
    attacker.close(database)


def swapped(attacker: Attacker, rng: Random) -> None:
    """Files of two segments have changed places, or two of one segment."""
    folder = attacker.house / "archive"
    kind = rng.choice(("segment/*.json", "tile/0/*", "tile/1/*", "tile/entries/*.gz"))
    one, other = rng.sample(sorted(folder.glob(kind)), 2)
    contents = one.read_bytes(), other.read_bytes()
    attacker.write(one, contents[1])
    attacker.write(other, contents[0])


def old_copy(attacker: Attacker, rng: Random) -> None:
    """The whole house is what it was some time ago, keys and checkpoints too."""
    attacker.copy_over(rng.choice(attacker.loot.older))


def made_anew(attacker: Attacker, rng: Random) -> None:
    """The whole house is another one of the same name, signed with other keys."""
    attacker.copy_over(attacker.loot.forged)


def stripped(attacker: Attacker, rng: Random) -> None:
    """A checkpoint has lost its signature, or the half of it."""
    database = attacker.open()
    path = attacker.house / "marks/checkpoint"
    note = path.read_text()
    text, _, below = note.rpartition("\n\n")
    bare = rng.choice((f"{text}\n\n", f"{text}\n", f"{text}\n\n{below[: len(below) // 2]}\n"))
    if rng.random() < 0.5:
        attacker.write(path, bare.encode())
    else:
        database.execute(
            "UPDATE checkpoint SET note = ? WHERE size = (SELECT max(size) FROM checkpoint)",
            (bare,),
        )
    attacker.close(database)


def signed_by_another(attacker: Attacker, rng: Random) -> None:
    """Another past, with a key of the attacker's own that the ledger names as its first one."""
    database = attacker.open()
    attacker.edit_note(database, rng)
    seed = rng.randbytes(32)
    public = Signer("key", seed).verifier.public.hex()
    rows = database.execute("SELECT seq, body FROM fact WHERE instr(body, '\"SigningKeyMade\"')")
    for seq, body in rows.fetchall():
        said = json.loads(body)
        said["data"]["public"] = public
        database.execute("UPDATE fact SET body = ? WHERE seq = ?", (canonical(said), seq))
    attacker.sign(database, attacker.hash_anew(database), seed)
    attacker.close(database)


def signed_again(attacker: Attacker, rng: Random) -> None:
    """Another past, made by whoever holds the real key; nothing in the house shows it."""
    database = attacker.open()
    attacker.edit_note(database, rng)
    attacker.sign(database, attacker.hash_anew(database), attacker.loot.seed)
    attacker.close(database)


def cut_and_signed(attacker: Attacker, rng: Random) -> None:
    """A shorter past, signed with the real key."""
    cut(attacker, rng, attacker.loot.seed)


def hashed_again(attacker: Attacker, rng: Random) -> None:
    """Another past with all hashes and tables; the signatures are left, or taken away."""
    database = attacker.open()
    attacker.edit_note(database, rng)
    attacker.hash_anew(database)
    if rng.random() < 0.5:
        database.execute("DELETE FROM checkpoint")
        attacker.remove(attacker.house / "marks/checkpoint")
    attacker.close(database)


ATTACKS: dict[str, Callable[[Attacker, Random], None]] = {
    "edit": edited,
    "nested edit": edited_inside,
    "delete": deleted,
    "insert": inserted,
    "reorder": reordered,
    "truncate": truncated,
    "swap segments": swapped,
    "old copy": old_copy,
    "made anew": made_anew,
    "stripped signature": stripped,
    "signed with another key": signed_by_another,
    "signed with the real key": signed_again,
    "cut, and signed with the real key": cut_and_signed,
    "hashed again": hashed_again,
}


def build(folder: Path, draws: Random) -> Loot:
    """A house with two keys, payloads, sealed segments, and three older copies of it."""
    clock = ManualClock()
    named = Random(7)
    # The name is drawn first; whoever makes the house anew gives it the same one.
    ids = Ids(clock, lambda count: named.randbytes(count) if count < 16 else draws.randbytes(count))
    folder.mkdir()
    house, older = folder / "found", [folder / f"older-{at}" for at in range(3)]
    for at, copy in enumerate(older):
        with open_notebook(
            house, clock=clock, ids=ids, registry=KINDS, projections=FOLDS
        ) as ledger:
            for key in range(12 * at, 12 * at + 12):
                ledger.append_now([note(ledger, key, run=f"{key % 3:032x}", text=f'"text {key}"')])
            if at == 1:
                rotate_key(ledger, "a year is over", ids=ids)
            seal_all(ledger)
        shutil.copytree(house, copy)
    with open_notebook(house, clock=clock, ids=ids, registry=KINDS, projections=FOLDS) as ledger:
        ledger.append_now([note(ledger, 99 + at, amount=at) for at in range(12)])
        assert seal_all(ledger)[-1].number == SEALED - 1
        origin = f"tildawn/{ledger.name}"
    database = apsw.Connection(str(house / "ledger.db"))
    # One file, so that an attack copies and restores nothing else.
    database.execute("PRAGMA journal_mode = delete").fetchall()
    database.close()
    seed = bytes.fromhex((house / "keys/signing.key").read_text())
    return Loot(house, tuple(older), folder.parent / "forged/found", seed, origin, SEALED * FACTS)


class Judges:
    """Both verifiers, with a checkpoint that somebody keeps elsewhere."""

    def __init__(self, folder: Path, kept: Path) -> None:
        """Load the one that is not ours, beside a table that knows the kinds of this house."""
        shutil.copy(SCRIPT, folder)
        fields = json.loads(SCRIPT.with_name("payloads.json").read_bytes())
        fields |= {name: kind.PAYLOADS for name, kind in KINDS.kinds().items()}
        (folder / "payloads.json").write_text(json.dumps(fields))
        spec = importlib.util.spec_from_file_location("alone", folder / SCRIPT.name)
        assert spec is not None
        assert spec.loader is not None
        self._alone = vars(module := importlib.util.module_from_spec(spec))
        spec.loader.exec_module(module)
        self._alone["WIDTH"] = WIDTH
        # Most signatures are the same ones again; each is a pure function of its bytes.
        self._alone["ed25519"] = functools.cache(self._alone["ed25519"])
        self._kept = kept
        self._outside = Outside(expected=(signed_by("kept", parse_note(kept.read_text())),))

    def ours(self, house: Path, *, outside: bool) -> tuple[int, str]:
        """Exit code and words of `tildawn verify`."""
        expected = self._outside if outside else NOTHING
        found = verify(house, registry=KINDS, projections=FOLDS, outside=expected)
        return found.exit_code, found.what

    def alone(self, house: Path, *, outside: bool) -> tuple[int, str]:
        """Exit code and words of the verifier that stands alone."""
        against = [f"--against={self._kept}"] if outside else []
        with redirect_stdout(io.StringIO()) as said:
            code = self._alone["main"](["ledger", str(house), *against])
        return code, said.getvalue().strip()


def main(folder: Path, first: int, count: int) -> None:
    """Attack, judge, put back."""
    loot = build(folder / "loot", Random(1))
    build(loot.forged.parent, Random(2))
    kept = folder / "kept"
    shutil.copy(loot.house / "marks/checkpoint", kept)
    judges, attacker = Judges(folder, kept), Attacker(loot, folder / "house")
    tried, unseen, missed = Counter[str](), Counter[str](), list[str]()
    for judge in (judges.ours, judges.alone):
        assert judge(attacker.house, outside=True)[0] == 0, judge(attacker.house, outside=True)
    names = list(ATTACKS)
    for number in range(first, first + count):
        name, rng = names[number % len(names)], Random(number)
        ATTACKS[name](attacker, rng)
        tried[name] += 1
        found = {
            who: judge(attacker.house, outside=True)
            for who, judge in (("ours", judges.ours), ("alone", judges.alone))
        }
        # A manifest that is not the one that was sealed proves nothing, either way.
        good = {3, 4} if name == "swap segments" else {4}
        missed += [
            f"{number} {name}: {who} says {code}, {said}"
            for who, (code, said) in found.items()
            if code not in good
        ]
        if number // len(names) % 10 == 0:
            codes = [
                judge(attacker.house, outside=False)[0] for judge in (judges.ours, judges.alone)
            ]
            if codes == [0, 0]:
                unseen[name] += 1
            elif 0 in codes:
                missed.append(f"{number} {name}: without outside, {codes}")
        attacker.put_back()
    for judge in (judges.ours, judges.alone):
        assert judge(attacker.house, outside=True)[0] == 0, "not put back"
    sys.stdout.write(json.dumps({"tried": tried, "unseen": unseen, "missed": missed}) + "\n")


if __name__ == "__main__":
    with small_segments():
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
