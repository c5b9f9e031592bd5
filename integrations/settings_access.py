"""`[access]`: who has which role, who is in which group, and who may run what says nothing of it."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, cast

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema, field_validator

from integrations.settings_section import Section

EVERYONE = "everyone"
ADMIN = "admin"
"""The role that may run every command; the owner of the installation has it."""
USER = "user"
"""The role that everybody has."""
_NAME = re.compile(r"[\w.-]{1,64}")
_KINDS = ("role", "group", "principal")
ONE_OR_MORE: dict[str, JsonValue] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
"""The JSON Schema of a text, or several."""


def rule(text: str) -> str:
    """Return a rule in its full form: `everyone`, `role:R`, `group:G`, `principal:ID` or `CHANNEL:ACCOUNT`.

    A bare word is a role. Raises ValueError for anything else.
    """
    text = text.strip()
    if text == EVERYONE:
        return text
    kind, colon, name = text.partition(":")
    if not colon and _NAME.fullmatch(text):
        return f"role:{text}"
    named = bool(_NAME.fullmatch(name)) if kind in _KINDS else bool(name) and not any(map(str.isspace, name))
    if not (colon and _NAME.fullmatch(kind) and named):
        raise ValueError(f"{text!r} names nobody: write everyone, a role, group:NAME, principal:ID or CHANNEL:ACCOUNT")
    return text


def rules(said: str | Sequence[str]) -> tuple[str, ...]:
    """Return rules in their full form. Raises ValueError."""
    return tuple(rule(text) for text in ([said] if isinstance(said, str) else said))


def _rules(value: object) -> object:
    return rules(cast("str | Sequence[str]", value)) if isinstance(value, str | list | tuple) else value


Rules = Annotated[tuple[str, ...], BeforeValidator(_rules), WithJsonSchema(ONE_OR_MORE, mode="validation")]
"""Whom something is for: `everyone`, a role, `group:G`, `CHANNEL:ACCOUNT` or `principal:ID`."""


class Access(Section):
    """Roles and groups by their members; accounts are written `CHANNEL:ACCOUNT`, with the network's own user id."""

    default: list[str] = Field(
        default_factory=lambda: [EVERYONE], description="Who may run a command that does not say so itself."
    )
    roles: dict[str, list[str]] = Field(
        default_factory=dict[str, list[str]], description='Accounts or groups by role: `finance = ["slack:U1"]`.'
    )
    groups: dict[str, list[str]] = Field(default_factory=dict[str, list[str]], description="Accounts by group.")

    @field_validator("default")
    @classmethod
    def _rules(cls, said: list[str]) -> list[str]:
        return list(rules(said))

    @field_validator("roles", "groups")
    @classmethod
    def _members(cls, said: dict[str, list[str]]) -> dict[str, list[str]]:
        """Refuse names that no rule could name, and members that are no accounts."""
        for name, members in said.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a role or group: letters, digits, '.', '-' and '_'")
            for member in members:
                if ":" not in member or member.startswith("role:"):
                    raise ValueError(f"{name}: {member!r} is no account; write CHANNEL:ACCOUNT, as in slack:U024BE7LH")
        return {name: [rule(member) for member in members] for name, members in said.items()}

    def knows(self, rule: str) -> bool:
        """Whether a rule may name somebody: a role or group that is given, or anything else."""
        kind, _, name = rule.partition(":")
        given = {"role": {*self.roles, ADMIN, USER}, "group": {*self.groups}}.get(kind)
        return given is None or name in given

    def members_of(self, rules: Iterable[str]) -> set[str]:
        """Return the accounts and principals that these rules name, through roles and groups."""
        found: set[str] = set()
        for kind, _, name in (rule.partition(":") for rule in rules):
            if kind == "role":
                found |= self.members_of(self.roles.get(name, ()))
            elif kind == "group":
                found |= set(self.groups.get(name, ()))
            elif name:
                found.add(f"{kind}:{name}")
        return found

    def groups_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the groups that have one of these accounts (`CHANNEL:ACCOUNT`, `principal:ID`) as a member."""
        return _having(self.groups, set(names))

    def roles_of(self, names: Iterable[str], groups: Collection[str]) -> tuple[str, ...]:
        """Return the roles that these accounts and groups give."""
        return _having(self.roles, {*names, *(f"group:{group}" for group in groups)})


def _having(members: dict[str, list[str]], names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name, listed in members.items() if not names.isdisjoint(listed)))
