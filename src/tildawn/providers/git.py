"""An anchor that is a repository of git: each checkpoint is a commit, pushed where a remote is set.

What it is not: a use of anybody's work tree.  Commits are made of objects alone, on a branch of
their own; no hook runs, nothing is signed, and nothing is ever forced.

The newest checkpoint of a log is the file ``ORIGIN/checkpoint`` on the branch.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tildawn.clock import Clock
from tildawn.errors import AnchorFailed, BadSetting
from tildawn.ledger.anchor import Claim, Evidence, agree, path_of
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.shell import ShellAnswer, ShellRequest, base_environment, run
from tildawn.units import SECOND


BRANCH = "tildawn"
"""Where none is set."""

OLDEST = (2, 36)
"""The first git that syncs every kind of object when it is told so (core.fsync). Source: its notes."""

PUSHES = 3
"""Tries to push, each on what the remote has by then: other houses may use the same branch."""

_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*([./][A-Za-z0-9_-]+)*")
_VERSION = re.compile(r"git version (\d+)\.(\d+)")
_WHO = "Tildawn"
_PROGRAM = "git"

_ALWAYS = (
    "core.hooksPath=/dev/null", "push.gpgSign=false", "gc.auto=0",
    "maintenance.auto=false", "core.fsync=all", "core.fsyncMethod=fsync", "core.askPass=",
    "credential.interactive=false", "advice.detachedHead=false",
)  # fmt: skip
"""Whatever the settings of the machine or the repository say: no program but git and its
transport, nobody asked, and objects on the disk before a branch names them."""


class GitAnchor:
    """A branch with checkpoints; see `tildawn.ledger.anchor.Anchor`."""

    kind = "git"

    def __init__(
        self,
        name: str,
        repository: Path,
        *,
        remote: str = "",
        branch: str = BRANCH,
        clock: Clock,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Take the repository; a folder that is missing or empty becomes a bare one.

        Args:
            name: of the anchor.
            repository: on this machine.
            remote: a name or an address to push to; without one, commits stay here.
            branch: of its own, best used by nobody else.
            clock: dates commits.
            environ: places and language, and the socket of an agent for SSH.

        Raises:
            BadSetting: the branch or the remote cannot be one.
        """
        if not _BRANCH.fullmatch(branch) or branch.endswith(".lock"):
            message = f"anchor {name}: {branch!r} cannot be a branch"
            raise BadSetting(message, hint="leave branch out, or use letters and digits")
        if remote.startswith("-"):
            message = f"anchor {name}: {remote!r} cannot be a remote"
            raise BadSetting(message, hint="give the name of a remote or its address")
        self.name = name
        self._folder = repository
        self._remote = remote
        self._branch = f"refs/heads/{branch}"
        self._tracked = f"refs/tildawn/{branch}"
        self._clock = clock
        self._environ = environ

    async def anchor(self, claim: Claim) -> Evidence:
        """Commit the checkpoint, and push it where a remote is set.

        A crash leaves a commit that no branch names, one that is not pushed, or one that is; the
        next try finds each of them.

        Raises:
            AnchorFailed: git is missing or refuses, or the remote does.
            ProofBroken: the branch has a larger tree, or another one.
        """
        await self._ready()
        ours = claim.checkpoint
        for last in range(PUSHES):
            tip = await self._tip()
            found = await self._newest(claim, tip)
            commit = tip
            if found is None or found.size != ours.size:
                commit = await self._commit(claim, tip)
            if await self._published(commit, tip, give_up=last == PUSHES - 1):
                return Evidence(
                    size=ours.size, root=ours.root, text=f"commit {commit}{self._where}",
                    warning=self._warning,
                )  # fmt: skip
        raise AssertionError  # the last try gives up by itself

    async def check(self, claim: Claim) -> Evidence | None:
        """What the remote has, or the repository where there is no remote.

        Raises:
            AnchorFailed: git is missing or refuses, or the remote does not answer.
            ProofBroken: the branch has a larger tree, or another one.
        """
        await self._ready()
        return await self._newest(claim, await self._tip())

    async def aclose(self) -> None:
        """Nothing is held.

        Raises:
            Nothing.
        """

    @property
    def _place(self) -> str:
        return f"the repository of anchor {self.name}"

    @property
    def _where(self) -> str:
        return f", pushed to {self._remote}" if self._remote else ""

    @property
    def _warning(self) -> str:
        return "" if self._remote else "it is pushed nowhere: the commit is on this machine"

    async def _ready(self) -> None:
        said = await self._git("version", bare=True)
        version = _VERSION.match(said)
        if version is None or (int(version[1]), int(version[2])) < OLDEST:
            message = f"{self._place} needs git {OLDEST[0]}.{OLDEST[1]} or newer, not {said!r}"
            raise AnchorFailed(message, hint="install a newer git")
        if not self._folder.exists() or not any(self._folder.iterdir()):
            if not self._folder.parent.is_dir():
                message = f"{self._folder.parent}, for {self._place}, is not there"
                raise AnchorFailed(message, hint="is the disk mounted?")
            await self._git("init", "--quiet", "--bare", str(self._folder), bare=True)

    async def _tip(self) -> str:
        """The newest commit of the branch at the place that counts; empty when there is none."""
        if not self._remote:
            return await self._resolved(self._branch)
        listed = await self._git("ls-remote", "--quiet", self._remote, self._branch)
        if not listed:
            return ""
        await self._git(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
            self._remote, f"+{self._branch}:{self._tracked}",
        )  # fmt: skip
        return await self._resolved(self._tracked)

    async def _resolved(self, ref: str) -> str:
        got = await self._run("rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}")
        return got.stdout.decode().strip() if got.exit_code == 0 else ""

    async def _newest(self, claim: Claim, tip: str) -> Evidence | None:
        if not tip:
            return None
        path = f"{path_of(claim.checkpoint.origin)}/checkpoint"
        if not await self._git("ls-tree", "--name-only", tip, "--", path):
            return None
        kept = await self._run("cat-file", "blob", f"{tip}:{path}")
        theirs = agree(claim, self._place, kept.stdout.decode("utf-8", "replace"))
        return Evidence(
            size=theirs.size, root=theirs.root, text=f"commit {tip}{self._where}",
            warning=self._warning,
        )  # fmt: skip

    async def _commit(self, claim: Claim, tip: str) -> str:
        """A commit on the tip with the checkpoint in it; no branch names it yet."""
        ours = claim.checkpoint
        with TemporaryDirectory(prefix="tildawn") as scratch:
            note, index = Path(scratch) / "note", Path(scratch) / "index"
            note.write_text(claim.note.dump(), encoding="utf-8")
            own = (("GIT_INDEX_FILE", str(index)),)
            blob = await self._git("hash-object", "-w", "--no-filters", "--", str(note))
            if tip:
                await self._git("read-tree", tip, env=own)
            entry = f"100644,{blob},{path_of(ours.origin)}/checkpoint"
            await self._git("update-index", "--add", "--cacheinfo", entry, env=own)
            tree = await self._git("write-tree", env=own)
        at = f"{self._clock.wall() // SECOND} +0000"
        dates = (("GIT_AUTHOR_DATE", at), ("GIT_COMMITTER_DATE", at))
        parents = ("-p", tip) if tip else ()
        message = f"Checkpoint of {ours.origin} at {ours.size} facts"
        return await self._git("commit-tree", tree, *parents, "-m", message, env=dates)

    async def _published(self, commit: str, tip: str, *, give_up: bool) -> bool:
        """Have the branch name the commit, there and here; False when somebody was before us."""
        if self._remote and commit != tip:
            refspec = f"{commit}:{self._branch}"
            got = await self._run("push", "--porcelain", "--no-verify", self._remote, refspec)
            if got.exit_code != 0:
                if give_up or b"[rejected]" not in got.stdout:
                    refusal = self._refused("push", got)
                    raise refusal
                return False
        # The branch here follows; with a remote it is a copy, and never what counts.
        old = () if self._remote else (tip or "0" * len(commit),)
        if commit != tip or self._remote:
            await self._git("update-ref", self._branch, commit, *old)
        return True

    async def _git(
        self, *words: str, env: tuple[tuple[str, str], ...] = (), bare: bool = False
    ) -> str:
        got = await self._run(*words, env=env, bare=bare)
        if got.exit_code != 0:
            raise self._refused(words[0], got)
        return got.stdout.decode("utf-8", "replace").strip()

    async def _run(
        self, *words: str, env: tuple[tuple[str, str], ...] = (), bare: bool = False
    ) -> ShellAnswer:
        """Run git; cancelling ends it and whatever it started, as for any program."""
        settings = [word for one in _ALWAYS for word in ("-c", one)]
        inside = self._folder / ".git"
        place = () if bare else ("--git-dir", str(inside if inside.exists() else self._folder))
        request = ShellRequest(argv=(_PROGRAM, *settings, *place, *words), cwd="/", env=self._env())
        request = msgspec.structs.replace(request, env=(*request.env, *env))
        try:
            return await run(request)
        except Fault as fault:
            if fault.kind is FaultKind.NOT_FOUND:
                message = f"{self._place} needs git, which is not installed"
                raise AnchorFailed(message, hint="install git") from fault
            message = f"{self._place}: git cannot be run: {fault.detail}"
            raise AnchorFailed(message) from fault

    def _env(self) -> tuple[tuple[str, str], ...]:
        agent = self._environ.get("SSH_AUTH_SOCK", "")
        return (
            *(pair for pair in base_environment(self._environ) if not pair[0].startswith("LC_")),
            ("GIT_AUTHOR_NAME", _WHO), ("GIT_COMMITTER_NAME", _WHO),
            ("GIT_AUTHOR_EMAIL", "tildawn@localhost"), ("GIT_COMMITTER_EMAIL", "tildawn@localhost"),
            ("GIT_TERMINAL_PROMPT", "0"), ("GIT_PAGER", "cat"),
            ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20"), ("LC_ALL", "C"),
            *((("SSH_AUTH_SOCK", agent),) if agent else ()),
        )  # fmt: skip

    def _refused(self, word: str, got: ShellAnswer) -> AnchorFailed:
        said = (got.stderr or got.stdout)[-400:].decode("utf-8", "replace").strip()
        message = f"{self._place}: git {word} failed: {said}"
        return AnchorFailed(message, hint="run it by hand: git ls-remote, git push --dry-run")
