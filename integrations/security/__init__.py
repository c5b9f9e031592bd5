"""Secrets, tokens and signatures."""
