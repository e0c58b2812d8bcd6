"""What can happen: frozen, typed, past-tense values."""
