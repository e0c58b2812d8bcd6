"""What we tell people: reports and notices, never repairs."""
