"""Where the files of a house are.

What it is not: their content.
"""

from pathlib import Path


class Layout:
    """The paths below a house's folder."""

    def __init__(self, folder: Path) -> None:
        """Name the paths; nothing is touched."""
        self.folder = folder
        self.database = folder / "ledger.db"
        self.pen = folder / "pen"
        self.key = folder / "keys" / "house.key"
        self.blobs = folder / "blobs"
        #: Says that there was a first fact, so that a lost database is not taken for a new house.
        self.founded = folder / "marks" / "founded"
