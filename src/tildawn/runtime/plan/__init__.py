"""Plan files in, checked plan values out."""
