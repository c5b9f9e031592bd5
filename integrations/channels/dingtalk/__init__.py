"""DingTalk: `verify.py` proves who sent something."""
