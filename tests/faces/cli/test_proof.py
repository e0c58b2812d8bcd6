"""Proof on the command line: checks against the outside, receipts, words, and the key."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base
        """Say nothing."""


@pytest.fixture
def served(shell: Any) -> Iterator[str]:
    """The marks of the house, served on loopback."""
    handler = partial(_Quiet, directory=str(shell.house / "marks"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def _touch(shell: Any) -> None:
    """Open the house once more, which adds facts and a checkpoint."""
    shell("takeover", "--yes")


def _key(shell: Any) -> str:
    return shell.ask("key", "show")["keys"][-1]["key"]


def test_a_check_says_how_much_is_signed_and_the_words(shell: Any) -> None:
    """What somebody keeps is printed where he looks."""
    said = shell.ask("verify")
    assert said["sealed"] == said["facts"] > 0
    assert len(said["words"].split()) == 12
    out = shell("verify").out
    assert f"Keep these twelve words: {said['words']}" in out
    assert "Signed up to" in out


def test_a_kept_checkpoint_holds_from_a_file_a_folder_and_an_address(
    shell: Any, served: str, tmp_path: Path
) -> None:
    """Wherever it was kept, a ledger that has grown since still contains it."""
    kept = tmp_path / "kept"
    shutil.copy(shell.house / "marks" / "checkpoint", kept)
    _touch(shell)

    for where in (str(kept), str(shell.house / "marks"), served, f"{served}checkpoint"):
        for how in ((), ("--fast",), ("--hashes",), ("--full",)):
            assert "Proven" in shell("verify", *how, "--against", where).out


def test_a_house_that_went_back_is_found_from_outside(shell: Any, tmp_path: Path) -> None:
    """The whole house of yesterday is honest in itself; the checkpoint of today is longer."""
    shutil.copytree(shell.house, tmp_path / "yesterday")
    words = shell.ask("verify")["words"]
    _touch(shell)
    kept = tmp_path / "kept"
    shutil.copy(shell.house / "marks" / "checkpoint", kept)
    newer = shell.ask("verify")["words"]
    shutil.rmtree(shell.house)
    shutil.copytree(tmp_path / "yesterday", shell.house)

    assert shell("verify").code == 0
    assert shell("verify", "--words", words).code == 0
    assert "cut off or rolled back" in shell("verify", "--against", str(kept), code=4).out
    assert "the twelve words" in shell("verify", "--words", newer, code=4).out


def test_what_is_not_there_or_not_ours_is_never_fine(shell: Any, tmp_path: Path) -> None:
    """Missing is 3, forged is 4 with the reason, a slip is 2."""
    text = (shell.house / "marks" / "checkpoint").read_text()
    kept = tmp_path / "kept"

    assert "[not-provable]" in shell("verify", "--against", str(kept), code=3).err
    assert "[not-provable]" in shell("verify", "--against", "http://127.0.0.1:9/x", code=3).err
    kept.write_text(text.split("\n\n")[0])
    assert "no signed note" in shell("verify", "--against", str(kept), code=4).out
    kept.write_text(text.replace("tildawn/", "tildawn/x"))
    assert "another log" in shell("verify", "--against", str(kept), code=4).out
    kept.write_bytes(b"\xff\xfe")
    assert "no signed note" in shell("verify", "--against", str(kept), code=4).out
    shell("verify", "--words", "one two three", code=2)
    shell("verify", "--key", "nonsense", code=2)
    shell("verify", "--fast", "--full", code=2)
    (shell.house / "marks" / "checkpoint").unlink()
    assert "is missing" in shell("verify", code=3).out


def test_what_is_compared_with_nothing_is_refused(shell: Any, tmp_path: Path) -> None:
    """A variable that nobody set gives an empty word; "proven" would say what was not compared."""
    for option in ("--words", "--against", "--receipt"):
        for empty in ("", "  "):
            said = shell("verify", option, empty, code=2)
            assert f"{option} is empty" in said.err
            assert said.out == ""
    paper = tmp_path / "r"
    shell("receipt", "1", "--out", str(paper))
    assert "--fact is empty" in shell("verify", "--receipt", str(paper), "--fact", "", code=2).err


def test_two_files_of_a_receipt_are_two(shell: Any, tmp_path: Path) -> None:
    """One file for both would keep the fact and lose its proof."""
    paper = tmp_path / "r"

    said = shell("receipt", "1", "--out", str(paper), "--with-fact", str(paper), code=2)

    assert "the same file" in said.err
    assert not paper.exists()


@pytest.mark.parametrize("words", [("receipt",), ("events", "--since"), ("runs", "--before")])
def test_a_number_beyond_all_facts_is_wrong_usage(shell: Any, words: tuple[str, ...]) -> None:
    """No ledger gets that long, and no database has such a number."""
    said = shell(*words, str(2**64), code=2)

    assert "[usage]" in said.err


def test_a_receipt_is_proof_without_the_house(shell: Any, tmp_path: Path) -> None:
    """Text, fact and key are all that somebody else needs."""
    key = _key(shell)
    paper, fact = tmp_path / "r.tlog-proof", tmp_path / "fact.json"
    assert (
        "Next: tildawn verify --receipt"
        in shell("receipt", "1", "--out", str(paper), "--with-fact", str(fact)).out
    )
    _touch(shell)
    elsewhere = ("--house", str(tmp_path / "elsewhere"))

    assert "Proven: fact 1" in shell("verify", "--receipt", str(paper)).out
    assert shell("receipt", "1").out.startswith("c2sp.org/tlog-proof@v1\nindex 1\n")
    check = ("verify", *elsewhere, "--receipt", str(paper))
    assert "--key" in shell(*check, code=3).out
    assert "--fact" in shell(*check, "--key", key, code=3).out
    assert shell(*check, "--key", key, "--fact", str(fact)).code == 0
    fact.write_bytes(fact.read_bytes() + b"\n")
    assert shell(*check, "--key", key, "--fact", str(fact)).code == 0
    fact.write_bytes(fact.read_bytes().replace(b"PenTaken", b"PenLaid!"))
    assert "not shown" in shell(*check, "--key", key, "--fact", str(fact), code=4).out
    assert "not fact 1" in shell("verify", "--receipt", str(paper), "--fact", str(fact), code=4).out


def test_a_forged_receipt_is_broken_here_too(shell: Any, tmp_path: Path) -> None:
    """The house compares the root as well, and knows its own keys."""
    paper = tmp_path / "r"
    shell("receipt", "1", "--out", str(paper))
    text = paper.read_text()
    shell("init", "--bare", "--house", str(tmp_path / "other"))

    other = shell("verify", "--house", str(tmp_path / "other"), "--receipt", str(paper), code=4)
    assert "of another log" in other.out
    for old, new in (("index 1", "index 2"), ("index 1", "index 99"), ("\n\n", "\n"), ("@v1", "")):
        paper.write_text(text.replace(old, new, 1))
        assert "Broken" in shell("verify", "--receipt", str(paper), code=4).out
    shell("receipt", "4000", code=2)


def test_the_key_changes_and_old_checkpoints_hold(shell: Any, tmp_path: Path) -> None:
    """Whoever kept the old key or an old checkpoint is not left with nothing."""
    kept, old = tmp_path / "kept", _key(shell)
    shutil.copy(shell.house / "marks" / "checkpoint", kept)

    shell("key", "rotate", code=2)
    shell("key", "rotate", "--reason", " ", code=2)
    keys = shell.ask("key", "rotate", "--reason", "the disk was sold")["keys"]

    assert [one["key"] == old for one in keys] == [True, False]
    assert shell("verify", "--against", str(kept)).code == 0
    assert shell("verify", "--key", _key(shell)).code == 0
    assert "another key" in shell("verify", "--key", old, code=4).out
    assert _key(shell) in shell("key", "show").out
