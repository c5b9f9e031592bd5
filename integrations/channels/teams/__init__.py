"""Microsoft Teams: `verify.py` proves who sent something."""
