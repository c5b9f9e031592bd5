"""Routes one claimed message: answers it on the spot, or starts its run. Never asks a model.

Whatever happens here is one transaction that also settles or starts the message, so that a crash before it
leaves the message to the next worker and a crash after it changes nothing.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from integrations.access import Refused, may
from integrations.database import AskedCommand, ClaimedMessage, Database, Followed, NewRun, Pending, Proposal, RunClaim
from integrations.errors import Forbidden, NotFound
from integrations.messages import Choice, InboundMessage, MessageStatus, OutboundMessage, Principal, utc_now
from integrations.settings import Settings
from orchestration.commands import consent
from orchestration.commands.asking import ask, wanting
from orchestration.commands.binding import bind_values
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.control import Controls
from orchestration.commands.forgetting import Forgetful
from orchestration.commands.help import explain
from orchestration.commands.language import language_of, pick
from orchestration.commands.lateness import answer_to_late
from orchestration.commands.moments import Moment
from orchestration.commands.parse import Parsed, parse, parse_structured
from orchestration.commands.problems import Problem
from orchestration.commands.proposals import decision, is_decision, names_another
from orchestration.commands.publishing import CurrentCatalogue
from orchestration.commands.retries import ASSISTANT
from orchestration.commands.scheduling import NAME as SCHEDULE
from orchestration.commands.scheduling import NoSwitches, Scheduling, Switches, words_of
from orchestration.commands.spec import CommandSpec
from orchestration.commands.turn import Turn
from orchestration.commands.vocabulary import OVERTAKING, STARTING
from orchestration.sealing import Sealer

log = logging.getLogger(__name__)

CORE = "core"


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
        self._location = location
        self._worker = worker
        self._lease_s = settings.workers.lease_s
        self._access = settings.access
        self._clock = clock
        self._zone = settings.schedules.timezone
        self._seal = Sealer(database, settings)
        self._catalogue = CurrentCatalogue(database)
        self._controls = Controls(database, settings, memory, self._catalogue)
        self._scheduling = Scheduling(database, settings, switches or NoSwitches(), self._catalogue)

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
            return self._approved(turn, message.approval)
        return self._dispatch(turn, self._parse(turn))

    def _dispatch(self, turn: Turn, parsed: Parsed) -> RunClaim | None:
        if parsed.kind == "free":
            return self._free(turn)
        spec = self._catalogue().find(parsed.command or "")
        if spec is None or parsed.kind == "control":
            return self._control(turn, spec, parsed)
        parsed = self._sealed(turn, spec, parsed)
        if self._refused(turn, spec):
            return None
        if not parsed.errors:
            return self._start_in_time(turn, spec, parsed.args)
        if not (turn.is_said and self._ask(turn, spec, parsed)):
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
            return self._start_command(turn, spec, args)
        status = MessageStatus.ANSWERED if late.choices else MessageStatus.FAILED
        self._database.inbox.settle(turn.claimed, [late], principal_id=turn.principal.id, status=status)
        return None

    def _control(self, turn: Turn, spec: CommandSpec | None, parsed: Parsed) -> RunClaim | None:
        if spec is not None and spec.name == SCHEDULE:
            text, choices = self._scheduling.answer(words_of(turn.message), turn.asker, turn.claimed.message_id)
            self._settle(turn, text, choices=choices)
        elif parsed.errors or spec is None:
            self._explain(turn, spec, parsed)
        elif spec.name in STARTING:
            follow = self._retry if spec.name == "retry" else self._again
            return follow(turn, str(next(iter(parsed.args.values()), "")))
        else:
            self._settle(turn, self._controls.answer(spec.name, parsed.args, turn.asker))
        return None

    def _explain(self, turn: Turn, spec: CommandSpec | None, parsed: Parsed) -> None:
        # Where secrets were taken out, the places of words are no longer those of the text.
        said = "" if parsed.secrets else turn.message.text
        text = explain(said, parsed.errors, spec, turn.asker.language)
        self._settle(turn, text, failed=turn.message.command is not None)

    def _parse(self, turn: Turn) -> Parsed:
        message, moment = turn.message, turn.moment(self._zone)
        parsed = _parse(message, self._catalogue(), moment)
        if parsed.kind == "command" and parsed.errors:
            # The command may be newer than the catalogue that is at hand.
            parsed = _parse(message, self._catalogue(afresh=True), moment)
        return parsed

    def _free(self, turn: Turn) -> RunClaim | None:
        message, say = turn.message, turn.asker.say
        pending = self._database.questions.open(message.address, turn.principal.id)
        if pending is not None and not is_decision(message.text):
            return self._answered(turn, pending)
        proposal = self._database.proposals.open(message.address, turn.principal.id)
        if proposal is not None:
            view = self._database.inbox.get(turn.claimed.message_id)
            answer = decision(message.text, proposal, view.receipt.accepted_at if view else None)
            if answer is not None:
                return self._decide(turn, proposal, agreed=answer)
        if names_another(message.text, proposal):
            self._settle(turn, say("That question no longer waits; ask again.", "该提议已失效，请重新提出。"))
            return None
        if not message.text.strip() and not message.attachments:
            self._settle(turn, say("Your message is empty. `/help` shows what I can do.", "消息是空的。"))
            return None
        config: dict[str, object] = {"message_id": turn.claimed.message_id}
        run_config: dict[str, object] = {"ops": {"receive": {"config": config}}}
        return self._start(turn, NewRun(CORE, ASSISTANT, run_config, turn.tags(ASSISTANT)))

    def _ask(self, turn: Turn, spec: CommandSpec, parsed: Parsed, complaint: str = "") -> bool:
        """Ask for what the command misses; False where that is not what is wrong, or nobody can be asked."""
        missing = wanting(spec, parsed.args, parsed.errors)
        asked = ask(spec, parsed.args, missing, turn.asker, complaint) if missing else None
        if asked is None:
            return False
        question, pending = asked
        self._database.inbox.settle(turn.claimed, [question], principal_id=turn.principal.id, pending=pending)
        return True

    def _answered(self, turn: Turn, pending: Pending) -> RunClaim | None:
        """Take the text for the argument that was asked for; run the command, or ask on."""
        turn.speak(pending.language)
        spec = self._catalogue(afresh=True).find(pending.command)
        if spec is None or pending.argument not in spec.by_name:
            self._database.questions.drop(turn.message.address, turn.principal.id)
            self._settle(turn, _GONE.message, failed=True)
            return None
        said = {pending.argument: turn.message.text} if turn.message.text.strip() else {}
        values = {**pending.args, **said}
        parsed = parse_structured(spec.name, values, self._catalogue(), turn.asker.language, turn.moment(self._zone))
        if self._refused(turn, spec):
            return None
        if not parsed.errors:
            return self._start_command(turn, spec, parsed.args)
        wrong = [problem for problem in parsed.errors if not problem.missing]
        others = tuple(problem for problem in parsed.errors if problem.missing)
        complaint = "\n".join(f"⚠️ {problem.message}" for problem in wrong)
        if not self._ask(turn, spec, parsed.model_copy(update={"errors": others}), complaint):
            self._settle(turn, explain("", parsed.errors, spec, turn.asker.language), failed=True)
        return None

    def _decide(self, turn: Turn, proposal: Proposal, *, agreed: bool) -> RunClaim | None:
        """Carry out exactly what was shown, or nothing. The proposal closes in the same transaction."""
        say = turn.asker.say
        try:
            if not agreed:
                self._settle(turn, say("All right, nothing was run.", "好的，没有运行任何东西。"), proposal=proposal.id)
                return None
            if proposal.command == SCHEDULE:
                made = self._scheduling.make(proposal.args, turn.asker, proposal.id)
                self._settle(turn, made, proposal=proposal.id)
                return None
            spec = self._catalogue(afresh=True).find(proposal.command)
            problems = bind_values(spec, proposal.args, turn.asker.language)[1] if spec else [_GONE]
            if spec is None or problems:
                # The code changed between the question and the yes.
                text = explain("", problems, spec, turn.asker.language)
                self._settle(turn, text, failed=True, proposal=proposal.id)
                return None
            if self._refused(turn, spec, proposal.id):
                return None
            return self._start_command(turn, spec, proposal.args, proposal=proposal.id)
        except NotFound:
            self._settle(turn, say("That was decided already.", "这个提议已经处理过了。"))
            return None

    def _start_command(
        self,
        turn: Turn,
        spec: CommandSpec,
        args: dict[str, object],
        *,
        proposal: str | None = None,
        again_of: str | None = None,
    ) -> RunClaim | None:
        if self._held(turn, spec, args, proposal):
            return None
        asked = AskedCommand(spec.name, args, turn.asker.language, spec.progress)
        tags, config = turn.tags(spec.name), spec.run_config_for(args)
        at_once = spec.at_once(args)
        run = NewRun(spec.location, spec.job, config, tags, again_of=again_of, asked=asked, at_once=at_once)
        return self._start(turn, run, proposal)

    def _held(self, turn: Turn, spec: CommandSpec, args: Mapping[str, object], proposal: str | None = None) -> bool:
        """Whether the command waits for an approval now; its message is routed once more when it is given."""
        wanted = consent.wanted(turn, spec, args)
        if wanted is not None:
            self._database.inbox.hold(turn.claimed, wanted, self._database.principals.now, proposal=proposal)
        return wanted is not None

    def _approved(self, turn: Turn, approval_id: str) -> RunClaim | None:
        """Start exactly what was approved, if whoever asked for it still may."""
        found = self._database.approvals.get(approval_id, turn.principal.tenant)
        spec = self._catalogue(afresh=True).find(found.subject) if found else None
        if found is not None:
            turn.speak(found.language)
        run = consent.approved_run(turn, found, spec)
        if spec is not None and run is not None and may(turn.principal, spec, self._access):
            if run.retry_of is not None:
                run = replace(run, asked=self._database.follow_ups.asked(run.retry_of))
            return self._start(turn, run)
        say = turn.asker.say
        why = say("what was approved can't be run any more", "已批准的内容无法再运行")
        self._database.approvals.revoke(approval_id, why)
        if spec is None or not self._refused(turn, spec):
            text = f"🚫 {approval_id}: {why}. " + say(
                "Nothing was run; say it again.", "没有运行任何内容，请重新提出。"
            )
            self._settle(turn, text, failed=True)
        return None

    def _retry(self, turn: Turn, word: str) -> RunClaim | None:
        """Go on with a failed run under this message's own run id."""
        found = self._controls.failed(word, turn.asker)
        if isinstance(found, str):
            self._settle(turn, found, failed=turn.message.command is not None)
            return None
        spec = self._catalogue().of_job(found.location, found.job)
        if spec is None and not turn.asker.is_admin:
            self._settle(turn, _GONE.message, failed=True)
            return None
        if spec is not None and (self._refused(turn, spec) or self._held(turn, spec, {consent.RETRY: found.run_id})):
            return None
        asked, tags = self._database.follow_ups.asked(found.run_id), turn.tags(found.job)
        at_once = spec.at_once(asked.args) if spec and asked else None
        run = NewRun(found.location, found.job, {}, tags, retry_of=found.run_id, asked=asked, at_once=at_once)
        return self._start(turn, run)

    def _again(self, turn: Turn, word: str) -> RunClaim | None:
        """Ask once more for the command of a run, with its arguments, as if it were typed now."""
        found = self._controls.repeatable(word, turn.asker)
        asked = None if isinstance(found, str) else self._database.follow_ups.asked(found.run_id)
        if isinstance(found, str) or asked is None:
            none = turn.asker.say("That run was no command; just say it again.", "该运行不是命令，请直接再说一遍。")
            self._settle(turn, found if isinstance(found, str) else none, failed=turn.message.command is not None)
            return None
        spec = self._catalogue(afresh=True).find(asked.command)
        if spec is not None and self._refused(turn, spec):
            return None
        problems = bind_values(spec, asked.args, turn.asker.language)[1] if spec else [_GONE]
        if spec is None or problems:
            self._settle(turn, explain("", problems, spec, turn.asker.language), failed=True)
            return None
        return self._start_command(turn, spec, asked.args, again_of=found.run_id)

    def _refused(self, turn: Turn, spec: CommandSpec, proposal: str | None = None) -> bool:
        """Whether the asker may not run the command; then they are told."""
        decision = may(turn.principal, spec, self._access)
        if isinstance(decision, Refused):
            self._settle(turn, turn.asker.say(decision.reason, decision.reason_zh), failed=True, proposal=proposal)
        return not decision

    def _start(self, turn: Turn, run: NewRun, proposal: str | None = None) -> RunClaim | None:
        worker = turn.worker if run.location == self._location else None
        log.info(
            "run requested",
            extra={"message_id": turn.claimed.message_id, "location": run.location, "job": run.job},
        )
        try:
            return self._database.inbox.start(
                turn.claimed,
                run,
                principal_id=turn.principal.id,
                worker=worker,
                lease_s=self._lease_s,
                proposal=proposal,
            )
        except Followed as earlier:
            self._settle(turn, self._controls.followed(earlier.run_id, turn.asker), failed=not turn.is_said)
            return None

    def _settle(
        self,
        turn: Turn,
        text: str,
        *,
        failed: bool = False,
        proposal: str | None = None,
        choices: tuple[Choice, ...] = (),
    ) -> None:
        reply = OutboundMessage(address=turn.message.address, text=text, choices=choices)
        status = MessageStatus.FAILED if failed else MessageStatus.ANSWERED
        self._database.inbox.settle(
            turn.claimed, [reply], principal_id=turn.principal.id, status=status, proposal=proposal
        )

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


_GONE = Problem(message="⚠️ This command no longer exists. / 该命令已不存在。")
