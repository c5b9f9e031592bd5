"""Approvals: what is wanted, who may decide it at this moment, and the one decision that counts.

A card is a view. Whatever a button, a line, the page or a program says comes to `decide`, which looks at the approval,
at what waits for it and at the person within one transaction.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.approvals import words
from integrations.approvals.values import Answer, Approval, NewApproval, Outcome, Verdict
from integrations.database import approving
from integrations.database.approval_asking import LookUp, ask, direct_places, supersede
from integrations.database.approval_tables import approvals, decisions
from integrations.database.engine import Store
from integrations.database.events import take_all
from integrations.database.records import RunClaim
from integrations.database.settling import check_fence
from integrations.messages import Address, Principal

MOST_LOOKED_AT = 500
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Word:
    """What one person says to an approval; `via` is the channel on which they say it."""

    approval_id: str
    principal: Principal
    verdict: Verdict
    reason: str = ""
    via: str = ""


class Approvals(Store):
    """From the wish to the decision. Thread-safe; blocks."""

    def __init__(
        self, engine: sa.Engine, look_up: LookUp, others: Callable[[Principal, tuple[str, ...]], float]
    ) -> None:
        super().__init__(engine)
        self.look_up = look_up
        self._others = others

    def get(self, approval_id: str, tenant: str) -> Approval | None:
        """Return one approval as it stands, or None."""
        with self._transaction() as connection:
            found = approving.read(connection, normal(approval_id))
        return found if found is not None and found.tenant == tenant else None

    def of_message(self, message_id: str) -> Approval | None:
        """Return the latest approval that this message waits, or waited, for."""
        return self._latest(approvals.c.anchor == f"message:{message_id}")

    def pending_of(self, address: Address, principal_id: str) -> Approval | None:
        """Return what somebody asked for here, and that nobody has decided yet."""
        place = address.model_dump(mode="json")
        return self._latest(
            approvals.c.origin == place,
            approvals.c.requester_id == principal_id,
            approvals.c.state == "pending",
            approvals.c.run_id.is_(None),
        )

    def concerning(self, principal: Principal, *, state: str | None = "pending", limit: int = 50) -> list[Approval]:
        """Return what this person asked for or may decide, newest first; all there is for an administrator."""
        query = sa.select(approvals).where(approvals.c.tenant == principal.tenant)
        if state is not None:
            query = query.where(approvals.c.state == state)
        with self._transaction() as connection:
            rows = connection.execute(query.order_by(approvals.c.seq.desc()).limit(MOST_LOOKED_AT)).all()
            found = [approving.whole(connection, row) for row in rows]
        mine = [one for one in found if concerns(one, principal) or self._stands_in(one, principal)]
        return mine[:limit]

    def is_pointless(self, wanted: NewApproval) -> bool:
        """Whether it would be asked for in vain, since only the requester could give it, who may not."""
        policy, requester = wanted.policy, self.look_up(wanted.requester_id)
        if requester is None or not policy.admits(requester, escalated=True):
            return False
        others = self._others(requester, policy.rules(escalated=True))
        able = others + policy.requester_may_approve
        if able >= policy.count or (others and policy.may_delegate):
            return False
        return self._latest(approvals.c.anchor == wanted.anchor) is None

    def decide(self, word: Word) -> Answer:
        """Take somebody's word: it counts once, from who may say it now, while what waits still waits."""
        # The word counts for who they are now, not when the page was loaded or a cache was filled.
        person = self.look_up(word.principal.id)
        with self._transaction() as connection:
            found = approving.read(connection, normal(word.approval_id))
            if found is None or found.tenant != word.principal.tenant:
                return Answer("unknown")
            waits = approving.hold_waiting(connection, found)
            found = approving.read(connection, found.id, lock=True)
            assert found is not None
            if found.state == "pending" and not waits:
                gone = "what it was for has ended"
                return Answer("over", approving.close(connection, found, "voided", gone))
            if found.state == "pending" and approving.now(connection) >= found.expires_at:
                return Answer("over", approving.close(connection, found, "expired", ""))
            if person is not None and self._takes_back(found, person, word):
                return Answer(
                    "withdrawn", approving.close(connection, found, "voided", words.taken_back(found, person))
                )
            refusal = self._refusal(found, person, word)
            if person is None or refusal is not None:
                return Answer(refusal or "unknown", found)
            return self._count(connection, found, person, word)

    def delegate(self, approval_id: str, by: Principal, to: Principal | None) -> Answer:
        """Let somebody decide instead of an approver, where the policy allows that."""
        by_now = self.look_up(by.id)
        with self._transaction() as connection:
            found = approving.read(connection, normal(approval_id), lock=True)
            if found is None or by_now is None or found.tenant != by.tenant or not self._may(found, by_now):
                return Answer("unknown")
            if found.state != "pending":
                return Answer("over", found)
            if self._is_own(found, by_now):
                return Answer("self", found)
            allowed = found.policy.may_delegate and found.policy.admits(by_now, escalated=found.escalated)
            if not allowed or to is None or to.tenant != found.tenant or to.id == by.id:
                return Answer("nobody", found)
            delegates = [*found.delegates, (to.id, by.id)]
            connection.execute(
                sa.update(approvals)
                .where(approvals.c.id == found.id)
                .values(delegates=[list(one) for one in dict.fromkeys(delegates)])
            )
            approving.in_turns(connection, approving.places(connection, found))
            approving.ask_in(connection, found, direct_places(connection, found.tenant, {to.id}))
        return Answer("delegated", found)

    def void(self, approval_id: str, why: str) -> bool:
        """Take an approval back, and answer what waits for it; False where it is decided."""
        with self._transaction() as connection:
            found = approving.read(connection, approval_id)
            if found is None:
                return False
            approving.hold_waiting(connection, found)
            found = approving.read(connection, approval_id, lock=True)
            if found is None or found.state != "pending":
                return False
            approving.close(connection, found, "voided", why)
        return True

    def revoke(self, approval_id: str, why: str) -> None:
        """Void what was approved, but is not to be carried out any more; what it was for is the caller's to answer."""
        with self._transaction() as connection:
            found = approving.read(connection, approval_id, lock=True)
            if found is not None and found.state == "approved":
                supersede(connection, found, why)

    def of_step(self, claim: RunClaim, wanted: NewApproval) -> Approval:
        """Return the approval of a step of a run, asked for now if it was not before. Raises `LeaseLost`.

        Other arguments than those that were asked for void it, and are asked for anew. What woke the run is taken.
        """
        with self._transaction() as connection:
            check_fence(connection, claim.run_id, claim.token)
            found = ask(connection, wanted, self.look_up)
            take_all(connection, claim, wanted.step, approving.EVENT, found.id)
            # Read behind the taking: whatever is decided later sends an event that is still there.
            found = approving.read(connection, found.id)
        assert found is not None
        return found

    def _count(self, connection: sa.Connection, found: Approval, person: Principal, word: Word) -> Answer:
        connection.execute(
            insert(decisions).values(
                approval_id=found.id,
                principal_id=person.id,
                name=person.name,
                verdict=word.verdict,
                reason=word.reason.strip()[:LONGEST_REASON],
                via=word.via,
            )
        )
        now = approving.read(connection, found.id)
        assert now is not None
        if word.verdict == "deny":
            return Answer("denied", approving.close(connection, now, "denied", ""))
        if now.missing == 0:
            return Answer("approved", approving.close(connection, now, "approved", ""))
        approving.in_turns(connection, approving.places(connection, now))
        approving.show(connection, now)
        return Answer("counted", now)

    def _refusal(self, found: Approval, person: Principal | None, word: Word) -> Outcome | None:
        """Return why a word doesn't count; who has nothing to do with an approval learns nothing of it."""
        if person is None:
            return "unknown"
        may = self._may(found, person)
        if found.state != "pending":
            return "over" if may or found.requester_id == person.id else "unknown"
        if self._is_own(found, person):
            return "self"
        if not may:
            return "forbidden"
        if any(one.principal_id == person.id for one in found.decisions):
            return "twice"
        return "reason" if found.policy.reason_required and not word.reason.strip() else None

    @staticmethod
    def _is_own(found: Approval, person: Principal) -> bool:
        """Tell whether it is somebody's own request, which others have to decide."""
        return found.requester_id == person.id and not found.policy.requester_may_approve

    def _takes_back(self, found: Approval, person: Principal, word: Word) -> bool:
        return found.state == "pending" and word.verdict == "deny" and self._is_own(found, person)

    def _may(self, found: Approval, person: Principal) -> bool:
        return found.policy.admits(person, escalated=found.escalated) or self._stands_in(found, person)

    def _stands_in(self, found: Approval, person: Principal) -> bool:
        """Tell whether somebody was named by an approver who still is one."""
        namers = (self.look_up(by) for to, by in found.delegates if to == person.id)
        return any(by is not None and found.policy.admits(by, escalated=found.escalated) for by in namers)

    def _latest(self, *where: sa.ColumnElement[bool]) -> Approval | None:
        with self._transaction() as connection:
            row = connection.execute(
                sa.select(approvals).where(*where).order_by(approvals.c.seq.desc()).limit(1)
            ).first()
            return approving.whole(connection, row) if row is not None else None


def normal(text: str) -> str:
    """Return an approval's id as it is stored, however it was typed."""
    return re.sub(r"[^0-9a-z-]", "", text.casefold()[:60])[:40]


def concerns(found: Approval, person: Principal) -> bool:
    """Tell whether an approval is somebody's business: theirs, theirs to decide, or they are an administrator."""
    admitted = found.policy.admits(person, escalated=found.escalated)
    return found.requester_id == person.id or "admin" in person.roles or admitted
