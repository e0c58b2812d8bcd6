"""Which build this is: what a holder of the pen writes down, and what two processes compare.

What it is not: the version of any format.
"""

from importlib.metadata import PackageNotFoundError, version


def _build() -> str:
    try:
        return version("tildawn")
    except PackageNotFoundError:
        return "unpacked"  # run from a folder that was never installed


BUILD: str = _build()
"""Such as ``0.1.0``."""
