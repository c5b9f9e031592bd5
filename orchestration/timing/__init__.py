"""When something recurs: words in English and Chinese → cron, and the instants that follow in a time zone."""

from orchestration.timing.clock import following, zone_named
from orchestration.timing.recurrence import Recurrence, Unclear, read

__all__ = ["Recurrence", "Unclear", "following", "read", "zone_named"]
