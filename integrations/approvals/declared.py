"""An approval as authors of commands and the settings write it; `policy` is what is kept of it."""

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from integrations.durations import Length, show_duration
from integrations.messages import Address
from integrations.settings_access import Rules


class Approval(BaseModel):
    """Who must agree before a command runs, how many of them, and until when.

    It is asked in `conversation`, or where the command was said. An approver is checked at the moment of deciding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    approvers: Rules = Field(min_length=1)
    count: int = Field(default=1, ge=1, le=20)
    requester_may_approve: bool = False
    expires_after: Length = timedelta(days=1)
    remind_after: Length | None = None
    escalate_to: Rules = ()
    """Who may decide as well once `escalate_after` is over."""
    escalate_after: Length | None = None
    may_delegate: bool = False
    reason_required: bool = False
    conversation: Address | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Refuse what could never be decided, or never happens."""
        if self.expires_after <= timedelta(0):
            raise ValueError("expires_after must be longer than nothing")
        for name in ("remind_after", "escalate_after"):
            length: timedelta | None = getattr(self, name)
            if length is not None and not timedelta(0) < length < self.expires_after:
                raise ValueError(f"{name} must be shorter than expires_after ({show_duration(self.expires_after)})")
        if bool(self.escalate_to) != (self.escalate_after is not None):
            raise ValueError("escalate_to and escalate_after go together")
        named = [one for one in self.approvers if not one.startswith(("role:", "group:")) and one != "everyone"]
        if len(named) == len(self.approvers) and self.count > len(set(named)):
            raise ValueError(f"{self.count} must approve, but only {len(set(named))} may")
        return self
