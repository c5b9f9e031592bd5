"""Principals and their accounts: one person over all the networks where they write."""

import math
import time
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.engine import Store
from integrations.database.tables import accounts, principals
from integrations.errors import Forbidden
from integrations.messages import Principal
from integrations.settings_access import EVERYONE, Access

CACHE_S = 5.0
"""Seconds for which a principal is remembered: the longest that a withdrawn right outlives its withdrawal."""
CACHE_SIZE = 10_000


class Principals(Store):
    """Who writes. The platform's user id is trusted, a display name never."""

    def __init__(self, engine: sa.Engine, access: Access | None = None) -> None:
        super().__init__(engine)
        self._access = access or Access()
        self._cache: dict[tuple[str, str, str], tuple[float, Principal]] = {}
        self._by_id: dict[str, tuple[float, Principal]] = {}

    def resolve(
        self, tenant: str, channel: str, account: str, *, name: str = "", roles: tuple[str, ...] = ("user",)
    ) -> Principal:
        """Return the principal of an account, made on first contact with `roles`. Raises `Forbidden` if disabled."""
        key = (tenant, channel, account)
        cached = self._cache.get(key)
        if cached and time.monotonic() - cached[0] < CACHE_S:
            return cached[1]
        with self._transaction() as connection:
            row = self._find(connection, key)
            if row is None:
                self._create(connection, key, name or account, roles)
                row = self._find(connection, key)
            if row is None or row.disabled_at is not None:
                raise Forbidden("this account is disabled; ask an administrator")
            principal = self._whole(connection, row)
        self._keep(principal)
        self._cache[key] = (time.monotonic(), principal)
        return principal

    def get(self, principal_id: str) -> Principal | None:
        """Return an enabled principal, or None; what it was at most `CACHE_S` ago."""
        cached = self._by_id.get(principal_id)
        if cached and time.monotonic() - cached[0] < CACHE_S:
            return cached[1]
        return self.now(principal_id)

    def now(self, principal_id: str) -> Principal | None:
        """Return an enabled principal as it is at this moment, or None: for what must not rest on what was."""
        query = sa.select(principals).where(principals.c.id == principal_id, principals.c.disabled_at.is_(None))
        with self._transaction() as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            return self._keep(self._whole(connection, row))

    def named(self, tenant: str, rule: str) -> Principal | None:
        """Return the enabled principal that `CHANNEL:ACCOUNT` or `principal:ID` names, or None."""
        kind, _, name = rule.partition(":")
        with self._transaction() as connection:
            found = None if kind == "principal" else self._find(connection, (tenant, kind, name))
        person = self.get(name if kind == "principal" else found.id if found else "")
        return person if person is not None and person.tenant == tenant else None

    def others(self, principal: Principal, rules: tuple[str, ...]) -> float:
        """Count whom these rules name besides somebody, also accounts that have not written yet; infinity: everyone."""
        if EVERYONE in rules:
            return math.inf
        named = self._access.members_of(rules)
        given = [rule.removeprefix("role:") for rule in rules if rule.startswith("role:")]
        pairs = [tuple(name.split(":", 1)) for name in named if not name.startswith("principal:")]
        owners = sa.select(accounts.c.principal_id, accounts.c.channel, accounts.c.account).where(
            accounts.c.tenant == principal.tenant, sa.tuple_(accounts.c.channel, accounts.c.account).in_(pairs)
        )
        with self._transaction() as connection:
            known = connection.execute(owners).all()
            ids = {row.principal_id for row in known} | {name.partition(":")[2] for name in named - _joined(pairs)}
            people = connection.scalars(
                sa.select(principals.c.id).where(
                    principals.c.tenant == principal.tenant,
                    principals.c.disabled_at.is_(None),
                    principals.c.id != principal.id,
                    principals.c.id.in_(ids) | principals.c.roles.overlap(given),
                )
            ).all()
        return len(people) + len(_joined(pairs) - {f"{row.channel}:{row.account}" for row in known})

    def disable(self, principal_id: str) -> None:
        """Refuse this principal from now on."""
        with self._statement() as connection:
            connection.execute(
                sa.update(principals).where(principals.c.id == principal_id).values(disabled_at=sa.func.now())
            )
        self.refresh()

    def link(self, tenant: str, channel: str, account: str, principal_id: str) -> None:
        """Tie an account to a principal, taking it from any other."""
        row = insert(accounts).values(tenant=tenant, channel=channel, account=account, principal_id=principal_id)
        with self._statement() as connection:
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=["tenant", "channel", "account"], set_={"principal_id": principal_id}
                )
            )
        self.refresh()

    def refresh(self) -> None:
        """Forget what is remembered of accounts; other processes do so within `CACHE_S`."""
        self._cache.clear()
        self._by_id.clear()

    def _keep(self, principal: Principal) -> Principal:
        if len(self._cache) + len(self._by_id) >= CACHE_SIZE:
            self.refresh()
        self._by_id[principal.id] = (time.monotonic(), principal)
        return principal

    def _whole(self, connection: sa.Connection, row: Any) -> Principal:
        """Return the principal with all accounts, and what the settings give these."""
        found = connection.execute(sa.select(accounts).where(accounts.c.principal_id == row.id))
        mine = tuple(sorted(f"{account.channel}:{account.account}" for account in found))
        groups = self._access.groups_of([*mine, f"principal:{row.id}"])
        given = self._access.roles_of([*mine, f"principal:{row.id}"], groups)
        roles = tuple(dict.fromkeys([*row.roles, *given]))
        return Principal(
            id=row.id,
            tenant=row.tenant,
            name=row.name,
            roles=roles,
            groups=groups,
            accounts=mine,
            timezone=row.timezone,
        )

    def _find(self, connection: sa.Connection, key: tuple[str, str, str]) -> Any:
        query = (
            sa.select(principals)
            .join(accounts, accounts.c.principal_id == principals.c.id)
            .where(accounts.c.tenant == key[0], accounts.c.channel == key[1], accounts.c.account == key[2])
        )
        return connection.execute(query).first()

    def _create(self, connection: sa.Connection, key: tuple[str, str, str], name: str, roles: tuple[str, ...]) -> None:
        tenant, channel, account = key
        # Two first messages at once: the second waits here and finds the first's account.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("\x1f".join(key), 1))))
        if self._find(connection, key) is not None:
            return
        principal_id = uuid.uuid4().hex
        connection.execute(sa.insert(principals).values(id=principal_id, tenant=tenant, name=name, roles=list(roles)))
        connection.execute(
            sa.insert(accounts).values(tenant=tenant, channel=channel, account=account, principal_id=principal_id)
        )


def _joined(pairs: list[tuple[str, ...]]) -> set[str]:
    return {":".join(pair) for pair in pairs}
