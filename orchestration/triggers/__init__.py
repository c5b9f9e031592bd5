"""Schedules and sensors, one file each."""
