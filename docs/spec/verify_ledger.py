#!/usr/bin/env python3
"""Proves a Tildawn ledger, or says where it is broken, with Python's standard library alone.

    python verify_ledger.py ledger HOUSE [--key VKEY]... [--against NOTE]...
    python verify_ledger.py receipt FILE FACT --key VKEY

It shares no line with Tildawn and follows docs/spec.  It ends with 0: proven; 4: broken, and
where; 3: not provable, and what is missing.  Projections and the index of runs are not looked at.
"""

import argparse, json, re, sqlite3, sys, zlib
from base64 import b64decode, b64encode, urlsafe_b64encode
from contextlib import closing
from functools import reduce
from hashlib import sha256, sha512
from pathlib import Path

WIDTH, SLOTS, MARK, GIVEN = 256, 8, 1_024, "the checkpoint given"
class Broken(ValueError): """Something is not what it was."""
class Unprovable(Exception): """Something that the proof needs is not there."""
def need(good, what):
    if not good: raise Broken(what)
# -- Ed25519, RFC 8032 section 5.1: checking only, so nothing here is secret ---------------------
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT = -121665 * pow(121666, -1, P) % P, pow(2, (P - 1) // 4, P)
def point(packed):
    y, sign = int.from_bytes(packed, "little") & (1 << 255) - 1, packed[31] >> 7
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    x = x if x * x % P == x2 else x * ROOT % P
    need(y < P and x * x % P == x2 and (x or not sign), "a public key is no point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P
def add(one, two):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = one, two
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P
BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
def ed25519(public, message, signature):
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or len(public) != 32 or s >= L: return False
    h = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % L
    x, y, z, t = point(public)
    table, total = (None, BASE, (P - x, y, z, P - t), add(BASE, (P - x, y, z, P - t))), (0, 1, 1, 0)
    for bit in range(max(s.bit_length(), h.bit_length()) - 1, -1, -1):
        total, at = add(total, total), (s >> bit & 1) | (h >> bit & 1) << 1
        total = add(total, table[at]) if at else total
    inverse = pow(total[2], -1, P)
    packed = total[1] * inverse % P | (total[0] * inverse % P & 1) << 255
    return packed.to_bytes(32, "little") == signature[:32]
# -- notes: C2SP signed-note and tlog-checkpoint -------------------------------------------------
LINE = re.compile("— ([^\\s+]+) ([A-Za-z0-9+/=]+)\n")
NOTE = re.compile(
    "(.+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n(?:.+\n)*\n((?:— [^\\s+]+ [\\w+/=]+\n)+)")
def base64(text):
    need(b64encode(b64decode(text)).decode() == text, "base64 in another form than the usual one")
    return b64decode(text)
def id_of(name, public):
    return sha256(name.encode() + b"\n\1" + public).digest()[:4]
def key_of(text):
    name, _, encoded = text.strip().split("+", 2)
    public = base64(encoded)[1:]
    usual = f"{name}+{id_of(name, public).hex()}+{b64encode(bytes([1]) + public).decode()}"
    if text.strip() != usual or len(public) != 32:
        raise ValueError("this is no Ed25519 key of the form NAME+ID+BASE64")
    return name, public
def parse(note):
    need(match := NOTE.fullmatch(note), "a checkpoint is no signed note")
    signed, below = note[: match.start(4) - 1].encode(), LINE.findall(match[4])
    return match[1], int(match[2]), base64(match[3]), signed, below
def check_note(where, note, log, keys):
    origin, size, root, text, signatures = parse(note)
    need(origin == log[0], f"{where} is of another log: {origin}, not {log[0]}")
    known, held = {(name, id_of(name, public)): public for name, public in keys}, 0
    for name, content in ((name, base64(encoded)) for name, encoded in signatures):
        if public := known.get((name, content[:4])):
            need(ed25519(public, text, content[4:]), f"{where}: the signature of {name} is no good")
            held += 1
    need(held, f"{where} is not signed by a key of {origin}")
    need((size, root) == log[1:], f"{where} was signed over {size} facts with another root")
# -- the tree, RFC 6962 --------------------------------------------------------------------------
def node(left, right):
    return sha256(b"\1" + left + right).digest()
def root_of(frontier):
    found = reversed(frontier or [sha256(b"").digest()])
    return reduce(lambda root, left: node(left, root), found)
def included(leaf, index, size, path):
    """The root that a proof of inclusion, nearest hash first, leads to. RFC 6962 section 2.1.1."""
    need(0 <= index < size and bool(path) == (size > 1), "the proof has not the length of its tree")
    if size == 1: return leaf
    half, other = 1 << (size - 1).bit_length() - 1, path[-1]
    if index < half: return node(included(leaf, index, half, path[:-1]), other)
    return node(other, included(leaf, index - half, size - half, path[:-1]))
def judge_receipt(receipt, fact, keys):
    need(match := RECEIPT.match(receipt), "this is no receipt")
    origin, size, *_ = parse(note := receipt[match.end() :])
    path, leaf = list(map(base64, match[2].split())), sha256(b"\0" + fact).digest()
    log = origin, size, included(leaf, int(match[1]), size, path)
    check_note("the receipt", note, log, keys)
    return f"fact {match[1]} is among the first {size} of {origin}"
RECEIPT = re.compile(
    "c2sp.org/tlog-proof@v1\n(?:extra .*\n)?index (0|[1-9][0-9]{0,18})\n((?:.{43}=\n){0,63})\n")
# -- bodies, docs/spec/fact-body.md --------------------------------------------------------------
SUSPECT = re.compile(rb"\d{16}|[^\x00-\x7f]")
DECODE = json.JSONDecoder(parse_float=str, parse_constant=str).decode  # so they come back otherwise
ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
def read_body(body):
    text = body.decode()
    fact = DECODE(text)
    if ENCODE(fact) != text or (SUSPECT.search(body) and not plain(fact)):
        raise ValueError("there is another form of the same")
    return fact
def plain(value):
    if isinstance(value, dict):
        return all(map(str.isascii, value)) and all(map(plain, value.values()))
    if isinstance(value, list): return all(map(plain, value))
    return not isinstance(value, int) or abs(value) < 2**53
# -- the ledger, docs/spec/ledger.md and segments.md ---------------------------------------------
class House:
    """Reads a house; nothing in it is believed.  ``lost`` says what the proof would need."""
    def __init__(self, folder, keys=()):
        self.folder, self.keys, self.lost, self.bundle = Path(folder), list(keys), [], (-1, [])
        self.size = self.epoch = self.newest = self.second = 0
        self.erased, self.sealed, self.name, self.public, self.reading = {}, [], "", "", ""
        self.fields = json.loads(Path(__file__).with_name("payloads.json").read_bytes())
    def judge(self, against=()):
        path, marks = self.folder / "ledger.db", self.folder / "marks"
        if (marks / "restore").exists(): raise Unprovable("a restore was cut off")
        if not path.is_file():
            raise (Broken if (marks / "founded").exists() else Unprovable)(f"there is no {path}")
        self.due = [(GIVEN, one.read_bytes().decode()) for one in against]
        # These are read before the database, so that they cannot be newer.
        for where in filter(Path.exists, (self.folder / "archive/checkpoint", marks / "checkpoint")):
            self.reading = str(where)
            note = where.read_bytes().decode()
            self.second = parse(note)[1] * (where.parent == marks)
            self.due.append((self.reading, note))
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            self.sql, self.reading = database.execute, ""
            self.sql("BEGIN")  # everything below is of one moment
            if self.sql("PRAGMA user_version").fetchone()[0] < 3: raise Unprovable("an older schema")
            self.walk(self.sql("SELECT body_to FROM archive").fetchone()[0])
            for (name,) in self.sql("SELECT DISTINCT blob FROM blob_use"): self.blob(name)
            for fact in self.sealed:
                self.check_segment(fact["number"], fact["manifest"])
        if not 0 < self.second <= self.newest:
            self.lost.append("no checkpoint seals this ledger in both its database and marks/")
        if self.lost: raise Unprovable(self.lost[0])
        need(not self.erased, f"payloads are gone, and facts {sorted(self.erased)} do not say so")
        signs = f"tildawn/{self.name}", bytes.fromhex(self.public)
        need(not self.keys or signs in self.keys, "it is signed by another key than was named")
        return f"{self.size} facts of {signs[0]}, signed up to {self.newest}"
    def walk(self, left):
        chain, roots, due = bytes(32), [], {}
        marks = {size: rest for size, *rest in self.sql("SELECT size, chain, frontier FROM mark")}
        for size, note in self.sql("SELECT size, note FROM checkpoint ORDER BY size"):
            need(parse(note)[1] == size, f"the checkpoint of {size} facts says another size")
            due[size], self.newest = [(f"the checkpoint of {size} facts", note)], size
        for where, note in self.due:
            due.setdefault(parse(note)[1], []).append((where, note))
        rows = self.sql("SELECT id, salt, text, blob, erased FROM payload ORDER BY id")
        row = next(rows, None)
        for seq, leaf, body in self.sql("SELECT seq, leaf, body FROM fact ORDER BY seq"):
            if seq != self.size or (seq >= left and not body):
                raise Broken(f"fact {self.size} is missing, or its body")
            body, slots = body or self.archived(seq), {}
            while row is not None and row[0] < (seq + 1) * SLOTS:
                slots[row[0] - seq * SLOTS], row = row[1:], next(rows, None)
            if body:
                if sha256(b"\0" + body).digest() != leaf:
                    raise Broken(f"fact {seq} is not what was recorded: its body is another")
                self.take(seq, body, slots)
            chain, size = sha256(b"\2" + chain + leaf).digest(), seq
            while size & 1:
                leaf, size = node(roots.pop(), leaf), size >> 1
            roots.append(leaf)
            self.size = size = seq + 1
            if size % MARK == 0 and marks.pop(size, None) != [chain, b"".join(roots)]:
                raise Broken(f"the hashes break between facts {size - MARK} and {seq}")
            for where, note in due.pop(size, ()):
                log = f"tildawn/{self.name}", size, root_of(roots)
                keys = [(log[0], bytes.fromhex(self.public))] if self.public else []
                keys = self.keys or keys if where == GIVEN else keys
                need(parse(note)[2] == log[2], f"{where} was signed over another root")
                if not self.lost:  # else the fact that names the key may be among what is lost
                    check_note(where, note, log, keys)
        head = self.sql("SELECT size, chain, frontier, epoch FROM head").fetchall()
        found = self.size, chain, b"".join(roots), head[0][3] if self.lost else self.epoch
        need(head == [found], f"the head is not that of {self.size} facts with these hashes")
        need(not marks and not row, f"there are marks or payloads of more than {self.size} facts")
        need(not due, f"a checkpoint speaks of {max(due, default=0)} facts: the end was cut off")
        need(left <= len(self.sealed) * WIDTH**2 or self.lost, "bodies left that were not sealed")
    def archived(self, seq):
        number, place = divmod(seq, WIDTH)
        if self.bundle[0] != number:
            *above, last = (one.zfill(3) for one in f"{number:,}".split(","))
            path = "archive/tile/entries/" + "".join(f"x{one}/" for one in above) + last + ".gz"
            if not (self.folder / path).exists():
                return self.lost.append(f"segment {seq // WIDTH**2}: {path} is not there")
            content, at, found = zlib.decompress((self.folder / path).read_bytes(), 31), 0, []
            while at < len(content):
                begin, at = at + 2, at + 2 + int.from_bytes(content[at : at + 2], "big")
                found.append(content[begin:at])
            self.bundle = number, found
        return self.bundle[1][place]
    def take(self, seq, body, slots):
        fact = read_body(body)
        kind, data, _, _ = fact["kind"], fact["data"], fact["v"], fact["at"]
        if (kind == "HouseFounded") != (seq == 0):
            raise Broken(f"fact {seq}: a house is founded by its first fact, and by no other")
        self.hear(seq, kind, data)
        if kind not in self.fields: self.lost.append(f"payloads.json has no {kind}, of fact {seq}")
        for slot, field in enumerate(self.fields.get(kind, ())):
            if field in data:
                salt, text, blob, erased = slots.pop(slot, (None, None, None, None))
                good = (text, blob, erased).count(None) == 2 and (erased is None or erased > seq)
                need(good, f"payload {slot} of fact {seq} is gone, or is there and erased")
                text = self.blob(blob) if blob else text
                if text is None:
                    self.erased.setdefault(erased, set()).add(seq * SLOTS + slot)
                elif urlsafe_b64encode(sha256(salt + text).digest())[:43] != data[field].encode():
                    raise Broken(f"payload {slot} of fact {seq} is not what was recorded")
        need(not slots or self.lost, "there is a payload that its fact does not name")
    def hear(self, seq, kind, data):
        if kind == "HouseFounded":
            self.name = data["name"]
        elif kind == "PenTaken":
            self.epoch += 1
            need(data["epoch"] == self.epoch, f"fact {seq} does not begin epoch {self.epoch}")
        elif kind == "HouseRestored":
            good = len(self.erased.pop(seq, ())) == data.get("erased", 0)
            need(good and data["epoch"] >= self.epoch, f"fact {seq} lies about epoch or payloads")
            self.name, self.epoch, self.public = data["name"], data["epoch"], data.get("public", "")
        elif kind == "PayloadErased":
            gone, ends = self.erased.pop(seq, set()), iter(data["ranges"])
            for begin, end in zip(ends, ends):
                gone = {one for one in gone if not begin <= one < end}
                there = self.sql(STAYED, (begin, end)).fetchone()
                need(not there, f"fact {seq} erased payload {there}, which is there")
            need(not gone, f"payloads {gone} are gone, and fact {seq} does not name them")
        elif kind == "SigningKeyMade":
            need(not self.public, f"fact {seq} makes a first key, and there was one before")
            self.public = data["public"]
        elif kind == "SigningKeyRotated":
            good, origin = data["old"] == self.public, f"tildawn/{self.name}"
            text = "\n".join(
                ["tildawn/key-rotation/v1", origin, str(data["size"])]
                + [data[one] for one in ("root", "old", "new")] + [""]).encode()
            for one in ("old", "new"):
                good &= ed25519(bytes.fromhex(data[one]), text, base64(data[f"by_{one}"]))
            need(good and data["size"] <= seq, f"fact {seq}: not both keys have signed")
            self.public = data["new"]
        elif kind == "SegmentSealed":
            self.sealed.append(data)
    def blob(self, name):
        path = self.folder / "blobs" / name[:2] / name
        content = path.read_bytes() if path.is_file() else b""
        need(sha256(content).hexdigest() == name, f"blob {name} is missing or another")
        return content
    def check_segment(self, number, digest):
        path, tiles = self.folder / f"archive/segment/{number:06}.json", b""
        manifest = path.read_bytes() if path.exists() else b""
        if sha256(manifest).hexdigest() != digest:
            return self.lost.append(f"{path} is missing, or not the one that was sealed")
        for file in json.loads(manifest)["files"]:
            path = self.folder / "archive" / file["path"]
            if not path.exists(): return self.lost.append(f"segment {number}: {path} is not there")
            content = path.read_bytes()
            need(sha256(content).hexdigest() == file["sha256"], f"segment {number}: {path} differs")
            tiles += content if file["path"].startswith("tile/0/") else b""
        leaves = self.sql(LEAVES, (number * WIDTH**2, (number + 1) * WIDTH**2))
        need(tiles == b"".join(leaf for (leaf,) in leaves), f"segment {number}: its tiles lie")
STAYED = "SELECT id FROM payload WHERE id >= ? AND id < ? AND coalesce(text, blob, salt) NOT NULL"
FORM = ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError
LEAVES = "SELECT leaf FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"

def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("ledger", "receipt"))
    parser.add_argument("path", type=Path)
    parser.add_argument("fact", type=Path, nargs="?", help="the body of the fact of a receipt")
    parser.add_argument("--key", type=key_of, action="append", default=[])
    parser.add_argument("--against", type=Path, action="append", default=[])
    given = parser.parse_args(arguments)
    if (given.what == "receipt") != bool(given.fact) or (given.fact and not given.key):
        parser.error("a receipt needs the FACT and a --key, a ledger no FACT")
    house = House(given.path, given.key)
    try:
        receipt = given.fact and (given.path.read_bytes().decode(), given.fact.read_bytes())
        said = judge_receipt(*receipt, given.key) if receipt else house.judge(given.against)
    except (Unprovable, OSError) as error:
        return print(f"not provable: {error}") or 3
    except (sqlite3.Error, zlib.error, *FORM) as error:
        where = house.reading or f"in segment {house.size // WIDTH**2}, at fact {house.size}"
        print(f"broken: {where}: {error!r}" if given.what == "ledger" else f"broken: {error}")
        return 3 if "unable to open" in str(error) else 4  # a disk that refuses proves nothing
    return print(f"proven: {said}") or 0
if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
