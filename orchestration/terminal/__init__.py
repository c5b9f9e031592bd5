"""What `runbell` shows and asks in a terminal; `orchestration.cli` calls it."""
