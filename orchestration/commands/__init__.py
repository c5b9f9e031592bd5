"""Typed commands: catalogue, parsing, help and the control commands."""
