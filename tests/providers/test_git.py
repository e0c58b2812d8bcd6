"""A repository of git as an anchor, with real programs and remotes of the tests' own."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tildawn.errors import AnchorFailed, BadSetting, ProofBroken
from tildawn.ledger.anchor import Claim, Evidence
from tildawn.providers.git import GitAnchor
from tildawn.testing.clock import ManualClock
from tildawn.testing.log import GrowingLog


pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository that stands for somebody else's server."""
    folder = tmp_path / "remote.git"
    folder.mkdir()
    git(folder, "init", "--quiet", "--bare", ".")
    return folder


def anchor_in(folder: Path, *, remote: Path | str = "", branch: str = "tildawn") -> GitAnchor:
    return GitAnchor("repo", folder, remote=str(remote), branch=branch, clock=ManualClock())


@pytest.fixture
def anchor(tmp_path: Path, remote: Path) -> GitAnchor:
    """An anchor that pushes there."""
    return anchor_in(tmp_path / "local.git", remote=remote)


def gone(path: Path) -> None:
    path.unlink()


def absent(path: Path) -> bool:
    return not path.exists()


def forbid(repository: Path, hook: str, script: str) -> None:
    path = repository / "hooks" / hook
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_a_checkpoint_is_a_commit_that_the_remote_has(
    anchor: GitAnchor, remote: Path
) -> None:
    """The evidence is the id of the commit, which anybody can look up there."""
    log = GrowingLog(5)
    await anchor.anchor(log.claim())
    log.grow(6)
    evidence = await anchor.anchor(log.claim())

    commit = git(remote, "rev-parse", "tildawn")
    assert evidence == Evidence(
        size=11, root=log.checkpoint().root, text=f"commit {commit}, pushed to {remote}"
    )
    kept = git(remote, "cat-file", "blob", "tildawn:tildawn/a/checkpoint")
    assert f"{kept}\n" == log.claim().note.dump()
    assert git(remote, "rev-list", "--count", "tildawn") == "2"
    shown = git(remote, "show", "--no-patch", "--format=%an <%ae>|%cn|%s", "tildawn")
    assert shown == ("Tildawn <tildawn@localhost>|Tildawn|Checkpoint of tildawn/a at 11 facts")
    assert await anchor.check(log.claim()) == evidence


async def test_the_same_checkpoint_again_is_no_second_commit(
    anchor: GitAnchor, remote: Path
) -> None:
    """A try whose answer was lost finds its own commit at the remote."""
    claim = GrowingLog(5).claim()

    assert await anchor.anchor(claim) == await anchor.anchor(claim)
    assert git(remote, "rev-list", "--count", "tildawn") == "1"


async def test_a_push_that_arrived_without_an_answer_is_found(tmp_path: Path, remote: Path) -> None:
    """Killed between the remote's acceptance and our record, nothing is done twice."""
    claim = GrowingLog(5).claim()
    await anchor_in(tmp_path / "first.git", remote=remote).anchor(claim)

    await anchor_in(tmp_path / "second.git", remote=remote).anchor(claim)
    assert git(remote, "rev-list", "--count", "tildawn") == "1"


async def test_a_commit_that_was_not_pushed_is_pushed_later(
    anchor: GitAnchor, remote: Path
) -> None:
    """The remote refuses today and takes it tomorrow."""
    claim = GrowingLog(5).claim()
    forbid(remote, "pre-receive", "echo closed for the night; exit 1")
    with pytest.raises(AnchorFailed, match=r"push failed.*"):
        await anchor.anchor(claim)
    assert await anchor.check(claim) is None
    gone(remote / "hooks" / "pre-receive")

    assert (await anchor.anchor(claim)).size == 5


async def test_what_others_pushed_meanwhile_stays(
    tmp_path: Path, anchor: GitAnchor, remote: Path
) -> None:
    """Two houses may share a branch; nothing is forced, and neither loses its checkpoint."""
    mine, theirs = GrowingLog(5), GrowingLog(7, origin="tildawn/b")
    await anchor.anchor(mine.claim())
    await anchor_in(tmp_path / "other.git", remote=remote).anchor(theirs.claim())
    mine.grow(1)
    await anchor.anchor(mine.claim())

    assert git(remote, "ls-tree", "-r", "--name-only", "tildawn").split() == [
        "tildawn/a/checkpoint", "tildawn/b/checkpoint",
    ]  # fmt: skip
    assert git(remote, "rev-list", "--count", "tildawn") == "3"


async def test_a_push_that_comes_second_is_made_again_on_top(
    tmp_path: Path, anchor: GitAnchor, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look and our push somebody else was quicker."""
    quick = anchor_in(tmp_path / "other.git", remote=remote)
    theirs, mine = GrowingLog(7, origin="tildawn/b"), GrowingLog(5)
    commit = anchor._commit

    async def overtaken(claim: Claim, tip: str) -> str:
        made = await commit(claim, tip)
        if theirs.checkpoint().size == 7:
            theirs.grow(1)
            await quick.anchor(theirs.claim())
        return made

    monkeypatch.setattr(anchor, "_commit", overtaken)

    assert (await anchor.anchor(mine.claim())).size == 5
    assert git(remote, "rev-list", "--count", "tildawn") == "2"


@pytest.mark.parametrize("method", ["anchor", "check"])
async def test_a_ledger_that_was_cut_is_shown_by_the_remote(
    anchor: GitAnchor, remote: Path, method: str
) -> None:
    """The commit of the longer ledger stays, and nothing is put on top of it."""
    log = GrowingLog(9)
    await anchor.anchor(log.claim())

    with pytest.raises(ProofBroken, match="seen 9 facts of this ledger, and here are 7"):
        await getattr(anchor, method)(log.claim(7))
    with pytest.raises(ProofBroken, match="the first 9 facts"):
        await getattr(anchor, method)(GrowingLog(12, forked_at=7).claim())
    assert git(remote, "rev-list", "--count", "tildawn") == "1"


async def test_hooks_of_the_repository_do_not_run(tmp_path: Path, anchor: GitAnchor) -> None:
    """A hook that hangs, asks or fails belongs to a person's commits, not to these."""
    await anchor.anchor(GrowingLog(5).claim())
    for hook in ("pre-commit", "commit-msg", "post-commit", "pre-push", "reference-transaction"):
        forbid(tmp_path / "local.git", hook, f"touch {tmp_path}/ran; exec sleep 1000")

    await anchor.anchor(GrowingLog(6).claim())
    assert absent(tmp_path / "ran")


async def test_settings_that_sign_or_ask_do_not_count(tmp_path: Path, anchor: GitAnchor) -> None:
    """Nobody is there at night to type a passphrase."""
    await anchor.anchor(GrowingLog(5).claim())
    for name, value in (
        ("commit.gpgSign", "true"), ("push.gpgSign", "true"), ("gpg.program", "false"),
        ("user.name", "Somebody"),
    ):  # fmt: skip
        git(tmp_path / "local.git", "config", name, value)

    await anchor.anchor(GrowingLog(6).claim())
    shown = git(tmp_path / "local.git", "show", "--no-patch", "--format=%an|%G?", "tildawn")
    assert shown == "Tildawn|N"


async def test_a_remote_that_hangs_is_left_with_everything_it_started(
    tmp_path: Path, anchor: GitAnchor, remote: Path
) -> None:
    """The caller's time limit ends git, its transport and the other side's hook."""
    os.mkfifo(tmp_path / "alive")
    forbid(remote, "pre-receive", f"exec 3>{tmp_path}/alive; echo up >&3; exec sleep 1000")
    trying = asyncio.ensure_future(anchor.anchor(GrowingLog(5).claim()))
    alive = await asyncio.to_thread((tmp_path / "alive").open)
    with alive:
        assert alive.readline() == "up\n"
        trying.cancel()
        await asyncio.wait({trying})
        # The end of the pipe comes when the last of them is dead.
        assert await asyncio.to_thread(alive.read) == ""


async def test_a_checked_out_work_tree_stays_as_it_is(tmp_path: Path) -> None:
    """The repository may be one in which somebody works."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "--quiet", "--initial-branch=main", ".")
    (work / "file").write_text("half done")
    git(work, "add", "file")

    evidence = await anchor_in(work).anchor(GrowingLog(5).claim())
    assert evidence.warning == "it is pushed nowhere: the commit is on this machine"
    assert git(work, "status", "--short") == "A  file"
    assert git(work, "rev-list", "--count", "tildawn") == "1"


async def test_a_folder_above_that_is_a_repository_is_not_taken(tmp_path: Path) -> None:
    """A wrong path must not end in commits to whatever lies above it."""
    git(tmp_path, "init", "--quiet", ".")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").touch()

    with pytest.raises(AnchorFailed, match="the repository of anchor repo"):
        await anchor_in(tmp_path / "inner").anchor(GrowingLog(5).claim())


async def test_git_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do is clear then, and nothing counts as anchored."""
    monkeypatch.setattr("tildawn.providers.git._PROGRAM", "tildawn-has-no-such-git")

    with pytest.raises(AnchorFailed, match="needs git, which is not installed"):
        await anchor_in(tmp_path / "local.git").anchor(GrowingLog(5).claim())


async def test_a_git_that_is_too_old_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not sync all that a commit is made of, so its commits prove nothing after a cut."""
    old = tmp_path / "old-git"
    old.write_text("#!/bin/sh\necho git version 2.30.2\n")
    old.chmod(0o755)
    monkeypatch.setattr("tildawn.providers.git._PROGRAM", str(old))

    with pytest.raises(AnchorFailed, match=r"needs git 2\.36 or newer"):
        await anchor_in(tmp_path / "local.git").anchor(GrowingLog(5).claim())


async def test_a_remote_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """The reason is what git says."""
    anchor = anchor_in(tmp_path / "local.git", remote=tmp_path / "nowhere")

    with pytest.raises(AnchorFailed, match="ls-remote failed"):
        await anchor.anchor(GrowingLog(5).claim())


@pytest.mark.parametrize(
    "wrong",
    [{"branch": "a..b"}, {"branch": "-x"}, {"branch": "x.lock"}, {"remote": "--upload-pack=x"}],
)
def test_words_that_git_would_take_for_options_are_refused(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    """A setting is a name or an address, and nothing that runs."""
    with pytest.raises(BadSetting):
        anchor_in(tmp_path, **wrong)
