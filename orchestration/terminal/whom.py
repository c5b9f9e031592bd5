"""Rules that name nobody: a role or group that is not given, an account of a network that there is not."""

from collections.abc import Iterator
from functools import cache

from integrations.near import near
from integrations.settings_access import EVERYONE, Access

WITHOUT_NETWORK = ("rest", "terminal", "web", "principal")


def doubt_of(rule: str, access: Access) -> str | None:
    """Return why a rule names nobody; None where it may name somebody."""
    kind, _, name = rule.partition(":")
    if not access.knows(rule):
        return f"nobody has the {kind} {name} (setting access.{kind}s)"
    if rule == EVERYONE or kind in ("role", "group") or kind in _networks():
        return None
    meant = near(kind, _networks())
    hint = f"did you mean {meant[0]}:{name}?" if meant else f"there is {', '.join(_networks())}"
    return f"{rule} is nobody's account: there is no network {kind}; {hint}"


def doubts_of_settings(access: Access) -> Iterator[tuple[str, str]]:
    """Yield the name of each setting whose rules name nobody, and why."""
    named = {f"access.roles.{name}": rules for name, rules in access.roles.items()}
    named |= {f"access.groups.{name}": rules for name, rules in access.groups.items()}
    for setting, rules in ({"access.default": access.default} | named).items():
        for rule in rules:
            if (doubt := doubt_of(rule, access)) is not None:
                yield setting, doubt


@cache
def _networks() -> tuple[str, ...]:
    from integrations.channels.table import capabilities

    return tuple(sorted({*capabilities(), *WITHOUT_NETWORK}))
