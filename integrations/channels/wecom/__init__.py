"""WeCom: `verify.py` proves who sent something."""
