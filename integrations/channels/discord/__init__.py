"""Discord: `verify.py` proves who sent something."""
