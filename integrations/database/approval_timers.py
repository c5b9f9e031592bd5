"""What happens to approvals by themselves: reminders, escalation, their end, and the end of what waited for them.

Kept in the database as the instants of parked runs are: whoever looks next carries out what is due, once.
"""

from collections.abc import Callable

import sqlalchemy as sa

from integrations.approvals.values import Approval
from integrations.database import approving
from integrations.database.approval_asking import LookUp, where_to_ask
from integrations.database.approval_tables import approvals
from integrations.database.engine import Store

AT_ONCE = 50
_DUE = sa.text("""
    select a.id from runbell.approvals a
    left join runbell.run_queue q on q.run_id = a.run_id
    left join runbell.inbox i on i.id = a.message_id and a.run_id is null
    where a.state = 'pending' and (a.next_at <= clock_timestamp()
      or (a.run_id is not null and coalesce(q.state, 'finished') = 'finished')
      or (a.run_id is null and coalesce(i.state, 'dead') in ('answered', 'failed', 'dead')))
    order by a.next_at limit :limit
""")


class ApprovalTimers(Store):
    """Any number of processes may look; each thing that is due happens once."""

    def __init__(self, engine: sa.Engine, look_up: LookUp) -> None:
        super().__init__(engine)
        self._look_up = look_up

    def look(self) -> int:
        """Carry out what is due and return for how many approvals something was."""
        with self._statement() as connection:
            due = connection.scalars(_DUE, {"limit": AT_ONCE}).all()
        return sum(self._one(approval_id) for approval_id in due)

    def _one(self, approval_id: str) -> bool:
        with self._transaction() as connection:
            found = approving.read(connection, approval_id)
            if found is None:
                return False
            waits = approving.hold_waiting(connection, found)
            found = approving.read(connection, approval_id, lock=True)
            if found is None or found.state != "pending":
                return False
            if not waits:
                approving.close(connection, found, "voided", "what it was for has ended")
                return True
            return self._happen(connection, found)

    def _happen(self, connection: sa.Connection, found: Approval) -> bool:
        now, next_at, reminded = connection.execute(
            sa.select(sa.func.clock_timestamp(), approvals.c.next_at, approvals.c.reminded).where(
                approvals.c.id == found.id
            )
        ).one()
        if next_at > now:
            return False
        if found.expires_at <= now:
            approving.close(connection, found, "expired", "")
            return True
        policy, values = found.policy, dict[str, object]()
        happen: list[Callable[[Approval], None]] = []
        if policy.escalate_after and not found.escalated and found.created_at + policy.escalate_after <= now:
            values["escalated_at"] = now
            happen.append(lambda one: self._escalate(connection, one))
        if policy.remind_after and found.created_at + policy.remind_after * (reminded + 1) <= now:
            # After an outage one reminder makes up for those that were missed.
            reminded = min(int((now - found.created_at) / policy.remind_after), approving.MOST_REMINDERS)
            values["reminded"] = reminded
            happen.append(lambda one: approving.remind(connection, one, reminded))
        connection.execute(sa.update(approvals).where(approvals.c.id == found.id).values(next_at=now, **values))
        later = approving.read(connection, found.id)
        assert later is not None
        approving.in_turns(connection, approving.places(connection, later))
        for one in happen:
            one(later)
        next_at = approving.due_after(later, now, reminded)
        connection.execute(sa.update(approvals).where(approvals.c.id == found.id).values(next_at=next_at))
        return True

    def _escalate(self, connection: sa.Connection, approval: Approval) -> None:
        """Ask others as well, and show on every card who may decide now."""
        approving.show(connection, approval)
        asked = where_to_ask(connection, approval, approval.policy.escalate_to, self._look_up)
        approving.in_turns(connection, asked)
        approving.ask_in(connection, approval, asked)
