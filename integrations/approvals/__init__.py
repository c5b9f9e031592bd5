"""Approvals as values: who may give one, what it is bound to, and how it is worded. Stored by `database/approvals`."""
