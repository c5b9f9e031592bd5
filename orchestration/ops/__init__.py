"""One file per op."""
