"""E-mail: `verify.py` proves who sent something."""
