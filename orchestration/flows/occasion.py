"""For whom a step of a run is carried out, and where: what the run's tags say, looked up at that moment."""

import dagster as dg

from integrations.database import Database
from integrations.errors import Forbidden
from integrations.gateway.services import OWNED_CHANNELS, OWNER
from integrations.memory import Scope
from integrations.messages import Address
from integrations.settings import Settings
from orchestration.actions import Occasion
from orchestration.ops.answering.scopes import scope_at


def occasion_of(context: dg.OpExecutionContext, step: str, database: Database, settings: Settings) -> Occasion:
    """Return it. A run that nobody asked for in a conversation is the operator's, who started it or its timer.

    Raises `Forbidden` where whoever asked for the run is not known any more.
    """
    tags = context.run.tags
    key = f"{context.run_id}:{step}"
    asker = tags.get("runbell/principal")
    if asker is None:
        operator = database.principals.resolve(
            settings.tenant, OWNED_CHANNELS[0], OWNER, name=OWNER, roles=("admin", "user")
        )
        nowhere = Address(channel="dagster", conversation=context.run_id, tenant=settings.tenant)
        return Occasion(operator, OWNER, nowhere, Scope.principal(settings.tenant, operator.id), key)
    principal = database.principals.get(asker)
    if principal is None:
        raise Forbidden("Whoever asked for this run may not use Runbell any more.")
    address = Address(
        channel=tags["runbell/channel"], conversation=tags["runbell/conversation"], tenant=tags["runbell/tenant"]
    )
    message = database.inbox.get(tags["runbell/message"]) if "runbell/message" in tags else None
    known = database.transcript.known(address)
    scope = scope_at(address, principal.id, direct=known is None or known.direct)
    return Occasion(principal, message.account if message else principal.id, address, scope, key)
