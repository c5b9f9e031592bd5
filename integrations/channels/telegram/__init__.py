"""Telegram: `verify.py` proves who sent something."""
