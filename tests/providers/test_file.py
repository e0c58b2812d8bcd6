"""Files below one folder: whole writes, digests, and no way out."""

import hashlib
import os
from pathlib import Path

import pytest

from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.file import Files


pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("outside")
    return tmp_path / "root"


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_what_is_written_is_read_back_with_its_digest(root: Path) -> None:
    """Evidence and reports compare files by digest."""
    files = Files(root)
    wrote = await files.write("a/b/sitemap.xml", b"<x/>")
    assert wrote.sha256 == hashlib.sha256(b"<x/>").hexdigest()
    read = await files.read("a/b/sitemap.xml")
    assert (read.data, read.sha256, read.size) == (b"<x/>", wrote.sha256, 4)
    longer = await files.append("a/b/sitemap.xml", b"<y/>")
    assert longer.sha256 == hashlib.sha256(b"<x/><y/>").hexdigest()
    assert (await files.delete("a/b/sitemap.xml")).sha256 == longer.sha256
    assert names(root / "a/b") == []


async def test_rewriting_keeps_the_permissions_and_takes_over_an_old_draft(root: Path) -> None:
    """A crash in the middle of a write leaves a draft, which must not stop the next one."""
    files = Files(root)
    await files.write("run.sh", b"1")
    (root / "run.sh").chmod(0o750)
    draft = f".{hashlib.sha256(b'run.sh').hexdigest()[:16]}.tildawn-draft"
    (root / draft).write_bytes(b"half")
    await files.write("run.sh", b"2")
    assert (root / "run.sh").read_bytes() == b"2"
    assert (root / "run.sh").stat().st_mode & 0o777 == 0o750
    assert names(root) == ["run.sh"]


async def test_a_failed_write_leaves_the_old_file(root: Path, monkeypatch) -> None:
    """Half a file in place of a whole one is worse than the old one."""
    files = Files(root)
    await files.write("a.txt", b"old")

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Fault) as caught:
        await files.write("a.txt", b"new")
    monkeypatch.undo()
    assert (caught.value.kind, caught.value.sent) == (FaultKind.QUOTA, True)
    assert (root / "a.txt").read_bytes() == b"old"


@pytest.mark.parametrize(
    "path", ["../secret", "a/../../secret", "/etc/passwd", "", ".", "link", "folder/secret", "a\0b"]
)
async def test_nothing_outside_the_folder_can_be_named(root: Path, path: str) -> None:
    """A model that chooses a path must not choose one of the owner's."""
    (root / "link").symlink_to("../secret")
    (root / "folder").symlink_to("..")
    files = Files(root)
    calls = (
        files.read(path),
        files.write(path, b"x"),
        files.append(path, b"x"),
        files.delete(path),
    )
    for call in calls:
        with pytest.raises(Fault) as caught:
            await call
        assert (caught.value.kind, caught.value.sent) == (FaultKind.BAD_REQUEST, False)
    assert (root.parent / "secret").read_text() == "outside"
    assert (root / "link").is_symlink()


async def test_missing_large_and_strange_files_say_what_they_are(root: Path) -> None:
    """Each of these is fixed in another way."""
    files = Files(root)
    with pytest.raises(Fault) as caught:
        await files.read("nothing")
    assert caught.value.kind is FaultKind.NOT_FOUND
    await files.write("large", b"x" * 11)
    with pytest.raises(Fault, match="11 bytes, 10 are allowed"):
        await files.read("large", limit=10)
    os.mkfifo(root / "pipe")
    with pytest.raises(Fault) as caught:
        await files.read("pipe")
    assert caught.value.kind is FaultKind.BAD_REQUEST
    (root / "folder").mkdir()
    with pytest.raises(Fault, match="not a file"):
        await files.write("folder", b"x")
