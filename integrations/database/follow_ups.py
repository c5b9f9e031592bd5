"""What follows a run: one retry from its failure and one repetition at most, however often its buttons are pressed."""

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.records import AskedCommand, NewRun
from integrations.database.run_tables import run_queue
from integrations.errors import PermanentError

# A retry that failed before anything of it executed left nothing to go on with: the first run may be retried again.
_FOLLOW = """
    update runbell.run_queue as q set {column} = :run_id where q.run_id = :of and (q.{column} is null or exists (
      select from runbell.run_queue f join runbell.inbox i on i.id = f.message_id
      where f.run_id = q.{column} and i.started_at is null and i.state in ('failed', 'dead')))
"""


class Followed(PermanentError):
    """The run has been retried, or run again, already; by the run `run_id`."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"that was done already, by the run {run_id}")
        self.run_id = run_id


def follow(connection: sa.Connection, run: NewRun, run_id: str) -> None:
    """Note that `run_id` follows the run that it retries or repeats. Raises `Followed` where another does."""
    for column, of in (("retried_by", run.retry_of), ("repeated_by", run.again_of)):
        if of is None:
            continue
        noted = connection.execute(sa.text(_FOLLOW.format(column=column)), {"run_id": run_id, "of": of})
        if noted.rowcount == 0:
            earlier = connection.scalar(sa.select(run_queue.c[column]).where(run_queue.c.run_id == of))
            if earlier is not None:
                raise Followed(earlier)


class FollowUps(Store):
    """What it takes to do a run again."""

    def asked(self, run_id: str) -> AskedCommand | None:
        """Return the typed command that a run is the run of, None where it is none."""
        query = sa.select(run_queue.c.request["asked"]).where(run_queue.c.run_id == run_id)
        with self._statement() as connection:
            found = connection.scalar(query)
        return AskedCommand(**found) if found else None
