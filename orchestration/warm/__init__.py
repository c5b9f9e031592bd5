"""Durable Dagster runs in live processes."""
