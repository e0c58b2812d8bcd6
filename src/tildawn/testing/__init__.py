"""The public test kit: manual clock, faulty disk, crash points, planted bugs."""
