"""Action `start_command`: start a typed command as the same principal, in the same conversation, in its turn."""

from pydantic import Field

from integrations.access import Refused, may
from integrations.errors import Forbidden, InvalidInput, NotFound, Overloaded
from integrations.messages import InboundMessage, run_id_for, sent_as
from integrations.settings import Settings
from orchestration.actions import FIXED, Arguments, Effect, Means, Occasion, Outcome
from orchestration.commands.binding import bind_values
from orchestration.commands.spec import CommandSpec


class Start(Arguments):
    """Which command, with which arguments."""

    command: str = Field(min_length=1, max_length=200, json_schema_extra=FIXED)
    args: dict[str, object] = Field(default_factory=dict[str, object])


class StartCommand:
    """Puts the command into the inbox as a message of the principal, so that all its rules hold."""

    name = "start_command"
    summary = "Start a command; it runs after what runs in this conversation now."
    arguments = Start

    def effect(self, args: Start, settings: Settings) -> Effect:  # noqa: ARG002 - the protocol's
        """It writes, as far as is known of commands."""
        return "write"

    def preview(self, args: Start, settings: Settings) -> str:  # noqa: ARG002
        """Say which, with which arguments by name: values may be secret."""
        return f"would start /{args.command.lstrip('/')} {' '.join(f'{name}=…' for name in args.args)}".rstrip()

    def carry_out(self, args: Start, means: Means, occasion: Occasion) -> Outcome:
        """Queue it. Raises `NotFound`, `Forbidden` and `InvalidInput` as the dispatcher would answer."""
        name = args.command.lstrip("/")
        specs = [CommandSpec.model_validate(stored.spec) for stored in means.database.commands.all()]
        spec = next((spec for spec in specs if name in (spec.name, *spec.aliases)), None)
        if spec is None:
            raise NotFound(f"There is no command /{name}; /help lists what there is.")
        decision = may(occasion.principal, spec, means.settings.access)
        if isinstance(decision, Refused):
            raise Forbidden(decision.reason)
        _, problems = bind_values(spec, args.args, "en")
        if problems:
            raise InvalidInput(" ".join(problem.message for problem in problems), field="args")
        known = means.database.transcript.known(occasion.address)
        message = InboundMessage(
            address=occasion.address,
            direct=known is None or known.direct,
            event_id=sent_as(occasion.key),
            account=occasion.account,
            account_name=occasion.principal.name,
            command=spec.name,
            args=args.args,
        )
        limit = means.settings.gateway.pending_per_conversation
        stored = means.database.inbox.receive([message], pending_limit=limit)[0]
        if stored.message_id is None:
            raise Overloaded("Too many messages wait in this conversation.", after=5.0)
        return Outcome(
            text=f"/{spec.name} was started.",
            data={"message_id": stored.message_id, "run_id": run_id_for(stored.message_id), "fresh": stored.fresh},
        )


ACTION = StartCommand()
