"""Feishu and Lark: `verify.py` proves who sent something."""
