"""One loaded model inside a replica, one file per engine."""
