"""How the assistant answers: plain functions beside the ops, tested without Dagster."""
