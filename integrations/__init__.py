"""The outside world, free of Dagster and Ray."""
