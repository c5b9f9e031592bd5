"""What the op `act` can carry out, one file per action."""
