"""Slack: `verify.py` proves who sent something."""
