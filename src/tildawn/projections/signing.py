"""The keys that sign checkpoints: which one signs now, and which did for which sizes.

What it is not: the folds.  The ledger needs them to open and to verify, and nothing of it may
rest on what is above it, so they are declared there.
"""

from tildawn.ledger.keyring import SIGNING, SigningKeyRow, SigningRow


__all__ = ["SIGNING", "SigningKeyRow", "SigningRow"]
