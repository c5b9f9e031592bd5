"""One claimed message with what was found out about it: who asks, and how its run is tagged."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from zoneinfo import ZoneInfo

from integrations.database import ClaimedMessage
from integrations.messages import InboundMessage, Principal
from integrations.security.secrets import DOTS
from orchestration.commands.asker import Asker
from orchestration.commands.language import language_of
from orchestration.commands.moments import Moment
from orchestration.commands.secrecy import secrets_in
from orchestration.commands.spec import CommandSpec


class Turn:
    """One message with what was found out about it."""

    def __init__(self, claimed: ClaimedMessage, principal: Principal, worker: str | None) -> None:
        self.claimed = claimed
        self.message = claimed.message
        self.principal = principal
        self.worker = worker
        # Said by a person, who can be asked back; not a program's call.
        self.is_said = claimed.message.command is None or claimed.message.kind == "form"
        self.asker = Asker(
            principal=principal,
            address=claimed.message.address,
            account=claimed.message.account,
            direct=claimed.message.direct,
            language=language_of(claimed.message.text),
        )

    def speak(self, language: str) -> None:
        """Go on in the language of the question that is answered."""
        self.asker = replace(self.asker, language="zh" if language == "zh" else "en")

    def hide(self, spec: CommandSpec, places: Sequence[tuple[int, int]]) -> None:
        """Take the secrets out of the message, as it will be kept."""
        text, args = self.message.text, dict(self.message.args)
        for start, end in sorted(places, reverse=True):
            text = f"{text[:start]}{DOTS}{text[end:]}"
        args |= dict.fromkeys(secrets_in(spec, args), DOTS)
        self.message = self.message.model_copy(update={"text": text, "args": args})
        self.claimed = replace(self.claimed, message=self.message, redacted=True)

    def blank(self) -> None:
        """Take all that was filled in out of the message, as it will be kept: any of it may be a secret."""
        if self.message.args:
            self.message = self.message.model_copy(update={"args": {}})
            self.claimed = replace(self.claimed, message=self.message, redacted=True)

    def moment(self, zone: str) -> Moment:
        """Return what `tomorrow`, `me` and a file's name mean in this message, for who has chosen no time zone."""
        message, channel = self.message, self.message.address.channel
        return Moment(
            message.received_at,
            ZoneInfo(self.principal.timezone or zone),
            account=f"{channel}:{message.account}",
            channel=channel,
            files=message.attachments,
        )

    def tags(self, command: str) -> dict[str, str]:
        """Return the run's tags; none of them comes from the text of a message."""
        address = self.message.address
        tags = {
            "runbell/message": self.claimed.message_id,
            "runbell/conversation": address.conversation,
            "runbell/channel": address.channel,
            "runbell/principal": self.principal.id,
            "runbell/tenant": address.tenant,
            "runbell/trigger": _trigger(self.message),
            "runbell/version": VERSION,
            "runbell/command": command,
        }
        if self.message.trigger == "schedule":
            # So the schedule's page in the UI lists the run, too.
            tags["dagster/schedule_name"] = self.message.source
        if trace_id := _trace_id(self.message.traceparent):
            tags["runbell/trace_id"] = trace_id
        return tags


def _trigger(message: InboundMessage) -> str:
    if message.trigger != "message":
        return message.trigger
    return "rest" if message.command and message.address.channel == "rest" else "message"


def _trace_id(traceparent: str | None) -> str | None:
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None


def _version() -> str:
    try:
        return version("runbell")
    except PackageNotFoundError:
        return "development"


VERSION = _version()
