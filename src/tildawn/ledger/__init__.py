"""How facts are kept: one chained, fsynced, append-only sequence."""
