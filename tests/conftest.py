"""How every test runs: property tests are deterministic here and random in campaigns.

What it is not: a place for fixtures of one folder; those stand in that folder's conftest.
"""

import functools
import importlib.util
import io
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from tildawn.facts.fact import Registry


# No deadline: a loaded machine must not decide whether a test passes.  The blob lets anyone
# repeat a failure.  `make test` draws the same examples each time; `make chaos` draws new ones.
settings.register_profile(
    "test",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "chaos", settings.get_profile("test"), derandomize=False, max_examples=2_000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))


SPEC = Path(__file__).parents[1] / "docs/spec"


class StandAlone:
    """The verifier of docs/spec in this process, beside a table of payloads of our choice."""

    def __init__(self, folder: Path) -> None:
        shutil.copy(SPEC / "verify_ledger.py", folder)
        (folder / "payloads.json").write_bytes((SPEC / "payloads.json").read_bytes())
        self._folder = folder
        spec = importlib.util.spec_from_file_location("verify_ledger", folder / "verify_ledger.py")
        assert spec is not None
        assert spec.loader is not None
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        # Of campaigns, most signatures are the same; each is a pure function of its bytes.
        vars(self.module)["ed25519"] = functools.cache(vars(self.module)["ed25519"])

    def knows(self, registry: Registry) -> None:
        """Add the kinds of an application, as its author would."""
        path = self._folder / "payloads.json"
        fields = json.loads(path.read_bytes())
        fields |= {name: kind.PAYLOADS for name, kind in registry.kinds().items()}
        path.write_text(json.dumps(fields))

    def judge(self, *arguments: object) -> tuple[int, str]:
        """Exit code and what was said."""
        with redirect_stdout(io.StringIO()) as said:
            code = self.module.main([str(one) for one in arguments])
        return code, said.getvalue().strip()

    def ledger(self, folder: Path, *against: Path, keys: Iterable[str] = ()) -> tuple[int, str]:
        """Judge a house."""
        more = [*(f"--against={one}" for one in against), *(f"--key={one}" for one in keys)]
        return self.judge("ledger", folder, *more)


@pytest.fixture(scope="session")
def stand_alone(tmp_path_factory: pytest.TempPathFactory) -> StandAlone:
    """The verifier that shares no line with ours."""
    return StandAlone(tmp_path_factory.mktemp("verifier"))
