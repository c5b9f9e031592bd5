"""Workflows to try and to copy: a code location of its own, listed in workspace.yaml."""
