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
        #: Signs checkpoints; a second copy of the newest checkpoint stands beside the database.
        self.signing_key = folder / "keys" / "signing.key"
        self.checkpoint = folder / "marks" / "checkpoint"
        #: How far a check has come, for the next quick one.
        self.verified = folder / "marks" / "verified"
        #: A log in the layout of tlog-tiles: segments with their manifests.
        self.archive = folder / "archive"
        self.snapshots = folder / "snapshots"
        #: What restores put aside, and a restore that is being made.
        self.aside = folder / "aside"
        self.restoring = folder / "restoring"
        #: Says that a restore is decided, and not finished.
        self.restore_mark = folder / "marks" / "restore"
        #: The projections folded a second time, to compare with.
        self.shadow = folder / "shadow.db"
        #: Space that is given back when the disk is full.
        self.ballast = folder / "ballast"
        #: Says that there was a first fact, so that a lost database is not taken for a new house.
        self.founded = folder / "marks" / "founded"
