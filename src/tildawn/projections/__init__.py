"""What is true now: tables folded from facts, and the queries over them."""
