"""Discord's interactions: commands, buttons and forms become messages, and each gets its answer in three seconds.

A command is deferred ("thinking…"); its token lives for fifteen minutes, in which the first answer takes that place.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from integrations.channels import Receive
from integrations.channels.buttons import Buttons
from integrations.channels.discord import inbound, shapes
from integrations.errors import Forbidden, InvalidInput, TemporaryError, Unauthorized
from integrations.messages import Form, InboundMessage

logger = logging.getLogger(__name__)
TOKEN_SECONDS = 840.0
RACE_SECONDS = 5.0
REMEMBERED = 5000


class Interactions:
    """Takes them, and remembers which commands still wait for their answer."""

    def __init__(self, buttons: Buttons, tenant: str, now: Callable[[], datetime]) -> None:
        self._buttons = buttons
        self._tenant = tenant
        self._now = now
        self._deferred: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def token(self, interaction_id: str | None) -> str:
        """Return the token of a command that waits for its answer; blank where none does."""
        token, ends_at = self._deferred.get(interaction_id or "", ("", 0.0))
        return token if ends_at > self._now().timestamp() else ""

    def known(self, interaction_id: str | None) -> bool:
        """Say whether a message answers a command, though its token may have ended."""
        return (interaction_id or "") in self._deferred

    def fresh(self, interaction_id: str | None) -> bool:
        """Say whether a command came so lately that Discord may not know yet that it waits."""
        _, ends_at = self._deferred.get(interaction_id or "", ("", 0.0))
        return ends_at - self._now().timestamp() > TOKEN_SECONDS - RACE_SECONDS

    def answered(self, interaction_id: str | None) -> None:
        """Note that a command has its answer."""
        self._deferred.pop(interaction_id or "", None)

    async def take(self, data: inbound.Json, receive: Receive, traceparent: str | None = None) -> dict[str, Any]:
        """Store what an interaction says and return its answer; a refusal is whispered to the person."""
        if data.get("type") == inbound.AUTOCOMPLETE:
            return {"type": 8, "data": {"choices": []}}
        try:
            return await self._interact(data, receive, traceparent)
        except (KeyError, TypeError, ValidationError) as error:
            logger.warning(
                "an interaction was ignored", extra={"channel": inbound.CHANNEL, "error": type(error).__name__}
            )
            return shapes.whisper("This could not be read.")
        except (Unauthorized, Forbidden, InvalidInput, TemporaryError) as error:
            return shapes.whisper(str(error))

    async def _interact(self, data: inbound.Json, receive: Receive, traceparent: str | None) -> dict[str, Any]:
        if data["type"] == inbound.COMMAND:
            message = inbound.command(data, self._tenant, self._now())
            accepted = await receive(message.model_copy(update={"traceparent": traceparent}))
            if not accepted.duplicate:
                self._defer(message.event_id, str(data["token"]))
            return {"type": 5}
        custom = str(data["data"]["custom_id"])
        if data["type"] == inbound.COMPONENT and custom.startswith(shapes.ASK):
            form, token = self._form(custom, data)
            return shapes.modal(form, token)
        if data["type"] == inbound.COMPONENT and custom.startswith(shapes.PRESS):
            await receive(self._said(data, traceparent, kind="action", text=self._opened(custom, data)))
            return {"type": 6}
        if data["type"] == inbound.MODAL and custom.startswith(shapes.FORM):
            form, _ = self._form(custom, data)
            args = {**form.args, **{name: value for name, value in inbound.inputs(data).items() if value}}
            await receive(self._said(data, traceparent, kind="form", command=form.command, args=args))
            return {"type": 6}
        return shapes.whisper("This is not known here.")

    def _said(self, data: inbound.Json, traceparent: str | None, **more: object) -> InboundMessage:
        common = inbound.said(data, inbound.person(data), self._tenant, self._now())
        subject = (data.get("message") or {}).get("id")
        return InboundMessage.model_validate(
            {**common, "traceparent": traceparent, "subject": str(subject) if subject else None, **more}
        )

    def _opened(self, custom: str, data: inbound.Json) -> str:
        account = str(inbound.person(data)["id"])
        return self._buttons.open(custom[2:], inbound.address(data, self._tenant), account)

    def _form(self, custom: str, data: inbound.Json) -> tuple[Form, str]:
        return Form.model_validate_json(self._opened(custom, data)), custom[2:]

    def _defer(self, interaction_id: str, token: str) -> None:
        self._deferred[interaction_id] = (token, self._now().timestamp() + TOKEN_SECONDS)
        while len(self._deferred) > REMEMBERED:
            self._deferred.popitem(last=False)
