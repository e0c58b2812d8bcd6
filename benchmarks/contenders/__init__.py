"""What is measured: each of the others, the bare floors, and this project, by one protocol."""
