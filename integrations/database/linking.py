"""Tying accounts to one principal: one-time codes, who used them, and the way back.

Nothing is merged. A tied account speaks for the principal whose code it typed; what it said and was told before stays
with its own principal, whose it is again once it is untied. Its direct conversations go with it, both ways.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.channel_tables import link_codes
from integrations.database.engine import Store
from integrations.database.tables import accounts, principals
from integrations.messages import Address, Principal

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Nothing in it is taken for something else: no 0, O, 1, I."""
LENGTH = 8
TTL = timedelta(minutes=10)
MOST_ATTEMPTS = 5
"""Codes that one account may try within `TTL`."""
Outcome = Literal["tied", "wrong", "often", "own", "above"]

_ATTEMPT = sa.text("""
    insert into runbell.link_attempts as a (tenant, channel, account, count, since)
    values (:tenant, :channel, :account, 1, now())
    on conflict (tenant, channel, account) do update set
      count = case when a.since < now() - cast(:ttl as interval) then 1 else least(a.count + 1, 1000) end,
      since = case when a.since < now() - cast(:ttl as interval) then now() else a.since end
    returning count
""")
_MOVE_CONVERSATIONS = sa.text("""
    update runbell.conversations c set principal_id = :principal
    where c.tenant = :tenant and c.channel = :channel and c.direct and c.conversation in (
      select i.conversation from runbell.inbox i
      where i.tenant = :tenant and i.channel = :channel and i.account = :account)
""")


@dataclass(frozen=True, slots=True)
class Account:
    """The platform's user id on a channel; `tied` where it has a principal of its own to go back to."""

    channel: str
    account: str
    tied: bool = False


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What became of a typed code; where something was tied, to whom, and where they asked for the code."""

    outcome: Outcome
    owner: str = ""
    asked_at: Address | None = None


class Linking(Store):
    """Codes and ties. `changed` is called whenever an account has another principal."""

    def __init__(self, engine: sa.Engine, changed: Callable[[], None]) -> None:
        super().__init__(engine)
        self._changed = changed

    def issue(self, principal: Principal, asked_at: Address) -> str:
        """Return a new code of this principal; an earlier one ends."""
        code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        values = {
            "tenant": principal.tenant,
            "digest": _digest(principal.tenant, code),
            "channel": asked_at.channel,
            "conversation": asked_at.conversation,
            "expires_at": sa.func.now() + TTL,
            "used_by": None,
        }
        row = insert(link_codes).values(principal_id=principal.id, **values)
        with self._statement() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["principal_id"], set_=values))
        return code

    def redeem(self, code: str, account: Account, principal: Principal) -> Redeemed:
        """Tie the account, now `principal`'s, to whoever asked for the code. Every call counts as an attempt."""
        digest = _digest(principal.tenant, normal(code))
        with self._transaction() as connection:
            attempt = {"tenant": principal.tenant, "channel": account.channel, "account": account.account, "ttl": TTL}
            if connection.execute(_ATTEMPT, attempt).scalar_one() > MOST_ATTEMPTS:
                return Redeemed("often")
            row = _code(connection, principal.tenant, digest)
            if row is None or row.used_by not in (None, _key(account)):
                return Redeemed("wrong")
            asked_at = Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation)
            if row.used_by is not None:
                return Redeemed("tied", row.name, asked_at)  # Told again after a crash.
            if row.principal_id == principal.id:
                return Redeemed("own")
            if not set(principal.roles) <= set(row.roles):
                return Redeemed("above", row.name, asked_at)
            self._tie(connection, account, principal.tenant, row.principal_id)
            connection.execute(
                sa.update(link_codes).where(link_codes.c.principal_id == row.principal_id).values(used_by=_key(account))
            )
        self._changed()
        return Redeemed("tied", row.name, asked_at)

    def burn(self, tenant: str, code: str) -> None:
        """End a code that was shown to others."""
        with self._statement() as connection:
            connection.execute(sa.delete(link_codes).where(link_codes.c.digest == _digest(tenant, normal(code))))

    def of(self, principal_id: str) -> list[Account]:
        """Return the accounts of a principal, the first one first."""
        query = sa.select(accounts).where(accounts.c.principal_id == principal_id)
        with self._statement() as connection:
            rows = connection.execute(query.order_by(accounts.c.created_at, accounts.c.channel)).all()
        return [Account(row.channel, row.account, row.home_id is not None) for row in rows]

    def remove(self, account: Account, principal: Principal) -> bool:
        """Give a tied account back to its own principal; False where it is not tied to this one."""
        here = _where(account, principal.tenant)
        with self._transaction() as connection:
            home = connection.scalar(
                sa.select(accounts.c.home_id).where(here, accounts.c.principal_id == principal.id).with_for_update()
            )
            if home is None:
                return False
            connection.execute(sa.update(accounts).where(here).values(principal_id=home, home_id=None))
            _move(connection, account, principal.tenant, home)
        self._changed()
        return True

    def left(self, principal_id: str) -> list[str]:
        """Return the principals whose every account is tied to this one: what is remembered of them is theirs."""
        others = accounts.alias()
        query = (
            sa.select(accounts.c.home_id)
            .distinct()
            .where(
                accounts.c.principal_id == principal_id,
                accounts.c.home_id.is_not(None),
                ~sa.exists().where(others.c.principal_id == accounts.c.home_id),
            )
        )
        with self._statement() as connection:
            return [str(home) for home in connection.scalars(query)]

    @staticmethod
    def _tie(connection: sa.Connection, account: Account, tenant: str, principal_id: str) -> None:
        home = sa.func.coalesce(accounts.c.home_id, accounts.c.principal_id)
        connection.execute(
            sa.update(accounts)
            .where(_where(account, tenant))
            .values(principal_id=principal_id, home_id=sa.func.nullif(home, principal_id))
        )
        _move(connection, account, tenant, principal_id)


def normal(code: str) -> str:
    """Return a code as it was made, however it was typed."""
    return "".join(letter for letter in code.upper() if letter.isalnum())[:64]


def shown(code: str) -> str:
    """Return a code as it is read best."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def _digest(tenant: str, code: str) -> bytes:
    """Return what is stored of a code: slow to guess for whoever reads the table while the code lives."""
    return hashlib.scrypt(code.encode(), salt=f"runbell link {tenant}".encode(), n=2**14, r=8, p=1, dklen=32)


def _code(connection: sa.Connection, tenant: str, digest: bytes) -> Any:
    """Return the living code with its enabled owner, held until commit."""
    query = (
        sa.select(link_codes, principals.c.name, principals.c.roles)
        .join(principals, principals.c.id == link_codes.c.principal_id)
        .where(
            link_codes.c.digest == digest,
            link_codes.c.tenant == tenant,
            link_codes.c.expires_at > sa.func.now(),
            principals.c.disabled_at.is_(None),
        )
    )
    return connection.execute(query.with_for_update(of=link_codes)).first()


def _where(account: Account, tenant: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        accounts.c.tenant == tenant, accounts.c.channel == account.channel, accounts.c.account == account.account
    )


def _move(connection: sa.Connection, account: Account, tenant: str, principal_id: str) -> None:
    values = {"principal": principal_id, "tenant": tenant, "channel": account.channel, "account": account.account}
    connection.execute(_MOVE_CONVERSATIONS, values)


def _key(account: Account) -> str:
    return f"{account.channel}:{account.account}"
