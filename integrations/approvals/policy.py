"""Who may approve, how many are needed, and what happens while nobody does."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from integrations.access import meets
from integrations.messages import Address, Principal
from integrations.settings_access import ADMIN

LONGEST = timedelta(days=90)
USUAL = timedelta(days=7)


class Policy(BaseModel):
    """What an approval wants; people are named by rules as `[access]` has them (`role:R`, `group:G`, `slack:U1`).

    Without approvers, administrators; without an expiry, a week. `conversation` is where it is asked; else that is
    where it was wanted, if others read there, or in the approvers' direct conversations.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    approvers: tuple[str, ...] = ()
    count: int = Field(default=1, ge=1, le=20)
    requester_may_approve: bool = False
    expires_after: timedelta | None = None
    remind_after: timedelta | None = None
    escalate_to: tuple[str, ...] = ()
    escalate_after: timedelta | None = None
    may_delegate: bool = False
    reason_required: bool = False
    conversation: Address | None = None

    @property
    def lifetime(self) -> timedelta:
        """How long it may wait for its decision."""
        return min(self.expires_after or USUAL, LONGEST)

    def rules(self, *, escalated: bool) -> tuple[str, ...]:
        """Return who may decide; escalation adds people, it takes nobody away."""
        first = self.approvers or (f"role:{ADMIN}",)
        return (*first, *self.escalate_to) if escalated else first

    def admits(self, principal: Principal, *, escalated: bool) -> bool:
        """Tell whether somebody may decide, all else being well."""
        return meets(principal, self.rules(escalated=escalated))


def spoken(rules: tuple[str, ...]) -> str:
    """Name the people of some rules, as texts for people do."""
    return ", ".join(rule.removeprefix("role:").removeprefix("principal:") for rule in rules)
