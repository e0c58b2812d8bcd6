"""How every test runs: property tests are deterministic here and random in campaigns.

What it is not: a place for fixtures of one folder; those stand in that folder's conftest.
"""

import os

from hypothesis import HealthCheck, settings


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
