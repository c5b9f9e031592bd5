"""Routes one claimed message: answers it on the spot, or starts its run. Never asks a model.

Whatever happens here is one transaction that also settles or starts the message, so that a crash before it
leaves the message to the next worker and a crash after it changes nothing.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from integrations.database import ClaimedMessage, Database, RunClaim
from integrations.errors import Forbidden
from integrations.messages import Address, InboundMessage, MessageStatus, OutboundMessage, Principal, utc_now
from integrations.settings import Settings
from orchestration.commands.answering import Answering, is_ours
from orchestration.commands.asking import wanting
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.control import Controls
from orchestration.commands.following import Following
from orchestration.commands.forgetting import Forgetful
from orchestration.commands.help import explain
from orchestration.commands.language import language_of, pick
from orchestration.commands.lateness import answer_to_late
from orchestration.commands.moments import Moment
from orchestration.commands.parse import Parsed, parse, parse_structured
from orchestration.commands.proposals import decision, is_decision, names_another
from orchestration.commands.publishing import CurrentCatalogue
from orchestration.commands.scheduling import NAME as SCHEDULE
from orchestration.commands.scheduling import NoSwitches, Scheduling, Switches, words_of
from orchestration.commands.spec import CommandSpec
from orchestration.commands.starting import CORE, Starting, assistant_run
from orchestration.commands.turn import Turn
from orchestration.commands.vocabulary import OVERTAKING, STARTING, yes_or_no
from orchestration.sealing import Sealer

log = logging.getLogger(__name__)

NOTHING_ASKED = (
    "Nothing here waits for your yes or no. `/approvals` lists what waits for a decision; `/help` shows what I can do.",
    "这里没有等待你回答“是”或“否”的问题。`/审批` 列出等待审批的事项，`/帮助` 查看可用命令。",
)


class Dispatcher:
    """Decides what becomes of a message. Called from many threads at once; blocks on the database only.

    `location` and `worker` are those of the calling worker: a run of its own location is returned already
    claimed by it; any other is left in the queue for its location's workers.
    """

    words = OVERTAKING

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        location: str = CORE,
        worker: str | None = None,
        memory: Forgetful | None = None,
        switches: Switches | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._worker = worker
        self._clock = clock
        self._zone = settings.schedules.timezone
        self._seal = Sealer(database, settings)
        self._catalogue = CurrentCatalogue(database)
        self._controls = Controls(database, settings, memory, self._catalogue)
        self._scheduling = Scheduling(database, settings, switches or NoSwitches(), self._catalogue)
        self._starting = Starting(database, settings, self._controls, location)
        self._following = Following(database, self._catalogue, self._controls, self._scheduling, self._starting)
        self._answering = Answering(database, self._catalogue, self._starting, self._sealed)

    def __call__(self, claimed: ClaimedMessage, *, worker: str | None = None) -> RunClaim | None:
        """Answer the message, or start its run and return the claim if this worker shall execute it.

        Raises `LeaseLost` where another worker has taken the message, `Unavailable` without the database.
        """
        message = claimed.message
        try:
            principal = self._principal_of(message)
        except Forbidden:
            self._refuse(claimed)
            return None
        if message.trigger == "event":
            # Kept for the sensors of whoever waits for it (`orchestration/events/`); nobody is answered.
            self._database.inbox.settle(claimed, [], principal_id=principal.id)
            return None
        turn = Turn(claimed, principal, worker or self._worker)
        if message.approval is not None:
            return self._following.approved(turn, message.approval)
        if is_ours(turn):
            return self._answering.filled(turn, self._zone)
        return self._dispatch(turn, self._parse(turn))

    def _dispatch(self, turn: Turn, parsed: Parsed) -> RunClaim | None:
        if parsed.kind == "free":
            return self._free(turn)
        spec = self._catalogue().find(parsed.command or "")
        if spec is None or parsed.kind == "control":
            return self._control(turn, spec, parsed)
        parsed = self._sealed(turn, spec, parsed)
        if self._starting.refused(turn, spec):
            return None
        if not parsed.errors:
            return self._start_in_time(turn, spec, parsed.args)
        if not (turn.is_said and self._starting.ask(turn, wanting(spec, parsed.args, parsed.errors))):
            self._explain(turn, spec, parsed)
        return None

    def _sealed(self, turn: Turn, spec: CommandSpec, parsed: Parsed) -> Parsed:
        """Return the command without the secrets that were said; the message keeps none either."""
        if not any(argument.secret for argument in spec.arguments):
            return parsed
        turn.hide(spec, parsed.secrets)
        return parsed.model_copy(update={"args": self._seal(spec, parsed.args, turn.principal.id)})

    def _start_in_time(self, turn: Turn, spec: CommandSpec, args: dict[str, object]) -> RunClaim | None:
        late = answer_to_late(self._database, turn, spec, args, self._clock())
        if late is None:
            return self._starting.start_command(turn, spec, args)
        status = MessageStatus.ANSWERED if late.choices else MessageStatus.FAILED
        self._database.inbox.settle(turn.claimed, [late], principal_id=turn.principal.id, status=status)
        return None

    def _control(self, turn: Turn, spec: CommandSpec | None, parsed: Parsed) -> RunClaim | None:
        if spec is not None and spec.name == SCHEDULE:
            text, choices = self._scheduling.answer(words_of(turn.message), turn.asker, turn.claimed.message_id)
            self._starting.settle(turn, text, choices=choices)
        elif parsed.errors or spec is None:
            self._explain(turn, spec, parsed)
        elif spec.name in STARTING:
            follow = self._following.retry if spec.name == "retry" else self._following.again
            return follow(turn, str(next(iter(parsed.args.values()), "")))
        else:
            self._starting.settle(turn, self._controls.answer(spec.name, parsed.args, turn.asker))
        return None

    def _explain(self, turn: Turn, spec: CommandSpec | None, parsed: Parsed) -> None:
        # Where secrets were taken out, the places of words are no longer those of the text.
        said = "" if parsed.secrets else turn.message.text
        text = explain(said, parsed.errors, spec, turn.asker.language)
        self._starting.settle(turn, text, failed=turn.message.command is not None)

    def _parse(self, turn: Turn) -> Parsed:
        message, moment = turn.message, turn.moment(self._zone)
        parsed = _parse(message, self._catalogue(), moment)
        if parsed.kind == "command" and parsed.errors:
            # The command may be newer than the catalogue that is at hand.
            parsed = _parse(message, self._catalogue(afresh=True), moment)
        return parsed

    def _free(self, turn: Turn) -> RunClaim | None:
        message, say = turn.message, turn.asker.say
        pending = self._answering.open(turn)
        if pending is not None and not is_decision(message.text):
            return self._answering.said(turn, pending, self._zone)
        proposal = self._database.proposals.open(message.address, turn.principal.id)
        if proposal is not None:
            view = self._database.inbox.get(turn.claimed.message_id)
            answer = decision(message.text, proposal, view.receipt.accepted_at if view else None)
            if answer is not None:
                return self._following.decide(turn, proposal, agreed=answer)
        if names_another(message.text, proposal):
            self._starting.settle(turn, say("That question no longer waits; ask again.", "该提议已失效，请重新提出。"))
            return None
        if not message.text.strip() and not message.attachments:
            self._starting.settle(turn, say("Your message is empty. `/help` shows what I can do.", "消息是空的。"))
            return None
        if yes_or_no(message.text) is not None and not message.attachments and not self._has_asked(message.address):
            self._starting.settle(turn, say(*NOTHING_ASKED))
            return None
        return self._starting.start(turn, assistant_run(turn))

    def _has_asked(self, address: Address) -> bool:
        """Whether the last thing said here was a question, which only the model then knows the sense of."""
        said = [entry.text for entry in self._database.transcript.recent(address, limit=5) if entry.role == "assistant"]
        return bool(said) and said[-1].rstrip().endswith(("?", "？"))

    def _principal_of(self, message: InboundMessage) -> Principal:
        address = message.address
        return self._database.principals.resolve(
            address.tenant, address.channel, message.account, name=message.account_name
        )

    def _refuse(self, claimed: ClaimedMessage) -> None:
        language = language_of(claimed.message.text)
        text = pick(
            language,
            "Sorry, this account may not use Runbell. An administrator can enable it.",
            "抱歉，此账号无权使用 Runbell，请联系管理员启用。",
        )
        reply = OutboundMessage(address=claimed.message.address, text=text)
        # The utterance is nobody's that we know; it must not open anybody's conversation.
        self._database.inbox.settle(claimed, [reply], principal_id="", status=MessageStatus.FAILED)


def _parse(message: InboundMessage, catalogue: Catalogue, moment: Moment) -> Parsed:
    if message.command:
        return parse_structured(message.command, message.args, catalogue, language_of(message.text), moment)
    return parse(message.text, catalogue, moment)
