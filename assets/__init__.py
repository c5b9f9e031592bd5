"""What is kept: Dagster assets."""
