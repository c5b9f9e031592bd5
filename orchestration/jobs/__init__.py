"""Jobs: wiring only, one file each."""
