"""When, and in which order: the Dagster code location, its warm workers and the command line."""
