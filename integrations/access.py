"""Who may run a command: the one place that decides it, asked when it is said and when it is carried out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from integrations.messages import Principal
from integrations.settings_access import ADMIN, EVERYONE, Access


@dataclass(frozen=True)
class Allowed:
    """They may."""

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True)
class Refused:
    """They may not; the reasons are for them to read."""

    reason: str
    reason_zh: str

    def __bool__(self) -> Literal[False]:
        return False


class Guarded(Protocol):
    """A command, as far as access goes. `allowed` is None where it leaves that to the settings."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def allowed(self) -> tuple[str, ...] | None:
        """The rules of who may run it."""
        ...


@dataclass(frozen=True)
class Guard:
    """A command that is known by its name and rules only."""

    name: str
    allowed: tuple[str, ...] | None


def may(principal: Principal | None, spec: Guarded, access: Access) -> Allowed | Refused:
    """Decide whether they may run the command now; None is somebody who is not known, or disabled."""
    if principal is None:
        return Refused(
            f"/{spec.name} was not run: whoever asked for it may not use Runbell any more.",
            f"未运行 /{spec.name}：请求者已无权使用 Runbell。",
        )
    rules = access.default if spec.allowed is None else spec.allowed
    if ADMIN in principal.roles or meets(principal, rules):
        return Allowed()
    who = ", ".join(rules).replace("role:", "") or "nobody but an administrator"
    return Refused(
        f"You may not run /{spec.name}; it is for: {who}. An administrator gives roles (setting access.roles).",
        f"你无权运行 /{spec.name}，仅限：{who}。管理员可在设置 access.roles 中授权。",
    )


def meets(principal: Principal, rules: Iterable[str]) -> bool:
    """Whether one of the rules names this principal: everyone, a role, a group, an account or the principal itself.

    Being an administrator counts for nothing here.
    """
    mine = {
        EVERYONE,
        f"principal:{principal.id}",
        *principal.accounts,
        *(f"role:{role}" for role in principal.roles),
        *(f"group:{group}" for group in principal.groups),
    }
    return not mine.isdisjoint(rules)
