"""Storing what was received: many messages in one commit, each event id once."""

from collections.abc import Sequence

import sqlalchemy as sa
import uuid_utils

from integrations.database.engine import ORDINARY, notify
from integrations.database.records import Received
from integrations.messages import InboundMessage

_RECEIVE = sa.text("""
    insert into runbell.inbox
      (id, tenant, channel, event_id, conversation, account, body, word, priority, traceparent)
    select * from unnest(
      cast(:ids as uuid[]), cast(:tenants as text[]), cast(:channels as text[]), cast(:events as text[]),
      cast(:conversations as text[]), cast(:accounts as text[]), cast(:bodies as jsonb[]), cast(:words as text[]),
      cast(:priorities as smallint[]), cast(:traces as text[]))
    on conflict (tenant, channel, event_id) do nothing
    returning cast(id as text), tenant, channel, event_id
""")
_KNOWN = sa.text("""
    select cast(i.id as text), i.tenant, i.channel, i.event_id from runbell.inbox i
    join unnest(cast(:tenants as text[]), cast(:channels as text[]), cast(:events as text[])) as e(t, c, e)
      on i.tenant = e.t and i.channel = e.c and i.event_id = e.e
""")
_PENDING = sa.text("""
    select i.tenant, i.channel, i.conversation, count(*) from runbell.inbox i
    join (select distinct * from unnest(
      cast(:tenants as text[]), cast(:channels as text[]), cast(:conversations as text[])) as d(t, c, v)) d
      on i.tenant = d.t and i.channel = d.c and i.conversation = d.v
    where i.state in ('received', 'running') group by 1, 2, 3
""")


def command_word(message: InboundMessage) -> str | None:
    """Return the first word after the slash, lower case, or None where the text is no command."""
    if message.command:
        return message.command.lower()
    text = message.text.lstrip()
    if not text.startswith(("/", "／")):
        return None
    return (text[1:65].split(maxsplit=1) or [""])[0].lower()


def store(
    connection: sa.Connection, messages: Sequence[InboundMessage], priority: int, pending_limit: int | None
) -> list[Received]:
    """Insert messages, wake the workers, and return what became of each, in their order."""
    refused = _over_limit(connection, messages, pending_limit)
    wanted = {_key(m): m for m in messages if _place(m) not in refused}
    stored = _insert(connection, list(wanted.values()), priority)
    missing = [m for m in messages if _key(m) not in stored]
    known = _find(connection, missing) if missing else {}
    for word in {command_word(wanted[key]) or ORDINARY for key in stored}:
        notify(connection, "runbell_inbox", word)
    seen: set[tuple[str, str, str]] = set()
    results: list[Received] = []
    for message in messages:
        key = _key(message)
        fresh = key in stored and key not in seen
        seen.add(key)
        results.append(Received(stored.get(key) or known.get(key), fresh))
    return results


def _key(message: InboundMessage) -> tuple[str, str, str]:
    return message.address.tenant, message.address.channel, message.event_id


def _place(message: InboundMessage) -> tuple[str, str, str]:
    return message.address.tenant, message.address.channel, message.address.conversation


def _over_limit(
    connection: sa.Connection, messages: Sequence[InboundMessage], limit: int | None
) -> set[tuple[str, str, str]]:
    if limit is None:
        return set()
    places = list({_place(m) for m in messages})
    values = {
        "tenants": [p[0] for p in places],
        "channels": [p[1] for p in places],
        "conversations": [p[2] for p in places],
    }
    return {(r[0], r[1], r[2]) for r in connection.execute(_PENDING, values) if r[3] >= limit}


def _insert(
    connection: sa.Connection, messages: Sequence[InboundMessage], priority: int
) -> dict[tuple[str, str, str], str]:
    if not messages:
        return {}
    rows = connection.execute(
        _RECEIVE,
        {
            "ids": [str(uuid_utils.uuid7()) for _ in messages],
            "tenants": [m.address.tenant for m in messages],
            "channels": [m.address.channel for m in messages],
            "events": [m.event_id for m in messages],
            "conversations": [m.address.conversation for m in messages],
            "accounts": [m.account for m in messages],
            "bodies": [m.model_dump_json() for m in messages],
            "words": [command_word(m) for m in messages],
            "priorities": [priority for _ in messages],
            "traces": [m.traceparent for m in messages],
        },
    )
    return {(row[1], row[2], row[3]): row[0] for row in rows}


def _find(connection: sa.Connection, messages: Sequence[InboundMessage]) -> dict[tuple[str, str, str], str]:
    values = {
        "tenants": [m.address.tenant for m in messages],
        "channels": [m.address.channel for m in messages],
        "events": [m.event_id for m in messages],
    }
    return {(row[1], row[2], row[3]): row[0] for row in connection.execute(_KNOWN, values)}
