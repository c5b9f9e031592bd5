"""What an approval is bound to, and how one stands."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from integrations.approvals.policy import Policy
from integrations.messages import Address

State = Literal["pending", "approved", "denied", "expired", "voided"]
Verdict = Literal["approve", "deny"]
Outcome = Literal[
    "approved",
    "denied",
    "counted",
    "withdrawn",
    "delegated",
    "unknown",
    "over",
    "self",
    "forbidden",
    "twice",
    "reason",
    "nobody",
]
"""What became of somebody's word; the first five changed something."""
FINAL: frozenset[str] = frozenset({"approved", "denied", "expired", "voided"})


@dataclass(frozen=True, slots=True)
class NewApproval:
    """One decision that is wanted. `args` are exact; `shown` is how people see them: secrets are dots.

    It belongs to a message that waits for its run, or to a step of a run that is parked.
    """

    subject: str
    args: dict[str, object]
    shown: str
    policy: Policy
    requester_id: str
    requester_name: str
    tenant: str
    origin: Address | None = None
    language: str = "en"
    effect: str = ""
    message_id: str | None = None
    run_id: str | None = None
    step: str | None = None

    @property
    def anchor(self) -> str:
        """What waits for the decision: a message, or a step of a run."""
        return f"run:{self.run_id}:{self.step}" if self.run_id else f"message:{self.message_id}"

    @property
    def digest(self) -> str:
        """What the decision is bound to: subject, canonical arguments, requester, and what waits."""
        bound = [self.subject, self.args, self.requester_id, self.tenant, self.anchor]
        text = json.dumps(bound, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person said."""

    principal_id: str
    name: str
    verdict: Verdict
    reason: str
    via: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval as it stands. `why` says why it ended without a decision."""

    id: str
    tenant: str
    subject: str
    shown: str
    effect: str
    policy: Policy
    requester_id: str
    requester_name: str
    state: State
    why: str
    digest: str
    language: str
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    escalated: bool
    message_id: str | None
    run_id: str | None
    step: str | None
    origin: Address | None
    args: dict[str, object] | None = None
    revision: int = 0
    delegates: tuple[tuple[str, str], ...] = ()
    """Who may decide instead of whom: ids of principals."""
    decisions: tuple[Decision, ...] = ()

    @property
    def said_yes(self) -> tuple[Decision, ...]:
        """Those who approved."""
        return tuple(one for one in self.decisions if one.verdict == "approve")

    @property
    def missing(self) -> int:
        """How many approvals are still wanted."""
        return max(self.policy.count - len(self.said_yes), 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of somebody's word, and the approval afterwards."""

    outcome: Outcome
    approval: Approval | None = None
