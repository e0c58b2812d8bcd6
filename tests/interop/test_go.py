"""What the Go project's own packages for notes and logs say of our checkpoints and receipts.

What it is not: needed to work on Tildawn.  Without Go, or without its packages, it is skipped.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tildawn.ledger.receipt import Receipt, parse_receipt
from tildawn.testing.notebook import SIGNED, note, open_notebook
from tildawn.units import Seq


GO = shutil.which("go") or ""
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of this folder, built."""
    if not GO:
        pytest.skip("go is not installed")
    made = tmp_path_factory.mktemp("go") / "interop"
    options = os.environ | {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    got = subprocess.run(
        [GO, "mod", "download"], cwd=HERE, env=options, capture_output=True, check=False, timeout=50
    )
    if got.returncode:
        pytest.skip("golang.org/x/mod cannot be downloaded")
    subprocess.run([GO, "build", "-o", str(made), "."], cwd=HERE, env=options, check=True)
    return made


def _judged(checker: Path, key: str, receipt: str, body: bytes, place: Path) -> tuple[int, str]:
    (place / "receipt").write_text(receipt, encoding="utf-8")
    (place / "body").write_bytes(body)
    done = subprocess.run(
        [str(checker), key, str(place / "receipt"), str(place / "body")],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout.strip() or done.stderr.strip()


def test_foreign_code_accepts_what_we_sign_and_prove_and_nothing_forged(
    checker: Path, tmp_path: Path
) -> None:
    """A proof that only we can check would be no proof."""
    with open_notebook(tmp_path / "house", projections=SIGNED) as ledger:
        ledger.append_now([note(ledger, key) for key in range(50)])
        signed = ledger.checkpoint()
        assert ledger.notary is not None
        key = ledger.notary.signer.verifier.dump()
        with ledger.read() as reader:
            size = int(signed.text.split("\n")[1])
            made = {
                seq: (
                    reader.fact(Seq(seq))[1],
                    Receipt(index=seq, path=reader.inclusion(seq, size), note=signed).dump(),
                )
                for seq in (0, 1, 31, 32, size - 1)
            }

    for seq, (body, receipt) in made.items():
        code, said = _judged(checker, key, receipt, body, tmp_path)
        assert (code, said.split()[:2]) == (0, [str(seq), str(size)]), said
    body, receipt = made[31]
    other = receipt.replace(f"\n{size}\n", f"\n{size + 1}\n")
    moved = receipt.replace("index 31", "index 30")
    assert parse_receipt(other).checkpoint.size == size + 1
    for forged, content in ((other, body), (moved, body), (receipt, body + b" ")):
        assert _judged(checker, key, forged, content, tmp_path)[0] == 1
