"""`@on_event`: what happens outside starts a job. Webhooks, rows of a database, files: each a Dagster sensor.

    from orchestration.events import Event, files, on_event

    @on_event(files("/srv/inbox/*.csv"), job=import_csv)
    def csv_arrived(event: Event) -> dict[str, object]:
        return {"path": event["path"]}

    defs = dg.Definitions(jobs=[import_csv], sensors=[csv_arrived])

The function returns the job's arguments as they would be typed, or None to leave the event out. An event leads to one
run, whatever dies in between: a run's key is its event, and the cursor moves on only once the runs are there.
"""

from orchestration.events.arrivals import files
from orchestration.events.declaring import on_event
from orchestration.events.hooks import webhook
from orchestration.events.seam import Batch, Event, Source
from orchestration.events.watermark import rows

__all__ = ["Batch", "Event", "Source", "files", "on_event", "rows", "webhook"]
