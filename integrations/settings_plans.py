"""The table `[plans]` of the settings file: what the assistant may propose to do, for whom, and within which bounds."""

from datetime import timedelta

from pydantic import Field, field_validator

from integrations.approvals.declared import Approval
from integrations.durations import Length, Seconds
from integrations.settings_access import EVERYONE, rules
from integrations.settings_section import Section

MOST_ROUNDS = 3
"""As many rounds as the job `assistant` is wired for."""


class Plans(Section):
    """What a strong model may propose beyond one command."""

    rounds: int = Field(
        default=MOST_ROUNDS, ge=0, le=MOST_ROUNDS, description="Times that the model may plan per request; 0: never."
    )
    actions: int = Field(default=5, ge=1, le=20, description="Actions and commands in one round.")
    tokens: int = Field(default=50_000, ge=1, description="Of one request, over all its rounds.")
    seconds: Seconds = Field(
        default=300.0, gt=0, description="Of one request; waiting for people and commands does not count."
    )
    wait_for_commands: Length = Field(
        default=timedelta(days=2),
        gt=timedelta(0),
        description="How long the result of a command is waited for; then a plan goes on without it.",
    )
    allow: dict[str, list[str]] = Field(
        default_factory=lambda: {name: [EVERYONE] for name in ("ask_model", "search_memory", "wait")},
        description="Which actions may be proposed for whom; administrators may have all of them proposed.",
    )
    approval: Approval | None = Field(
        default=None, description="Who approves what destroys; without it nothing that destroys is proposed."
    )

    @field_validator("allow")
    @classmethod
    def _whom(cls, said: dict[str, list[str]]) -> dict[str, list[str]]:
        return {name: list(rules(whom)) for name, whom in said.items()}
