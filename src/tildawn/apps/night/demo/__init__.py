"""The demonstration: a whole night in about a minute, through a real kill -9."""
