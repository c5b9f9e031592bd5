"""The ways a routed message goes on: settled with a word, refused, held for an approval, or its run started."""

import contextlib
import logging
from collections.abc import Mapping

from integrations.access import Refused, may
from integrations.approvals import words
from integrations.database import AskedCommand, Database, Followed, NewRun, RunClaim
from integrations.messages import Choice, MessageStatus, OutboundMessage
from integrations.settings import Settings
from orchestration.commands import consent
from orchestration.commands.asking import Lacking, ask
from orchestration.commands.control import Controls
from orchestration.commands.retries import ASSISTANT
from orchestration.commands.spec import CommandSpec
from orchestration.commands.turn import Turn
from orchestration.commands.values import Unreadable, default_of

log = logging.getLogger(__name__)

CORE = "core"


class Starting:
    """Ends what routing decided, each way in one transaction. Thread-safe; blocks.

    `location` is the caller's: a run of it is returned as claimed by the turn's worker, any other is left in the queue.
    """

    def __init__(self, database: Database, settings: Settings, controls: Controls, location: str) -> None:
        self._database = database
        self._lease_s = settings.workers.lease_s
        self._controls = controls
        self._location = location
        self.access = settings.access
        self._zone = settings.schedules.timezone

    def start_command(
        self,
        turn: Turn,
        spec: CommandSpec,
        args: dict[str, object],
        *,
        proposal: str | None = None,
        again_of: str | None = None,
    ) -> RunClaim | None:
        """Start a command with checked arguments, unless its policy has it approved first."""
        args = self._with_defaults(turn, spec, args)
        if self.held(turn, spec, args, proposal):
            return None
        asked = AskedCommand(spec.name, args, turn.asker.language, spec.progress)
        tags, config = turn.tags(spec.name), spec.run_config_for(args)
        at_once = spec.at_once(args)
        run = NewRun(spec.location, spec.job, config, tags, again_of=again_of, asked=asked, at_once=at_once)
        return self.start(turn, run, proposal)

    def _with_defaults(self, turn: Turn, spec: CommandSpec, args: dict[str, object]) -> dict[str, object]:
        moment, filled = turn.moment(self._zone), dict(args)
        for argument in spec.arguments:
            # One that can't be read stays as it stands; `runbell check` tells of it.
            with contextlib.suppress(Unreadable):
                if argument.name not in args and (value := default_of(argument.json_schema, moment)) is not None:
                    filled[argument.name] = value
        return filled

    def ask(self, turn: Turn, lacking: Lacking | None, *, proposal: str | None = None) -> bool:
        """Ask for what a command misses; False where there is nothing to ask for, or nobody can be asked."""
        asked = ask(lacking, turn.asker) if lacking is not None and lacking.missing else None
        if asked is None:
            return False
        question, pending = asked
        self._database.inbox.settle(
            turn.claimed, [question], principal_id=turn.principal.id, proposal=proposal, pending=pending
        )
        return True

    def held(self, turn: Turn, spec: CommandSpec, args: Mapping[str, object], proposal: str | None = None) -> bool:
        """Whether the command waits for an approval now, or needs one that nobody could give, and the asker is told so.

        Its message is routed once more when the approval is given.
        """
        wanted = consent.wanted(turn, spec, args)
        if wanted is None:
            return False
        if self._database.approvals.is_pointless(wanted):
            log.warning("an approval that nobody but the requester could give", extra={"command": spec.name})
            self.settle(turn, words.pointless(wanted), failed=True, proposal=proposal)
        else:
            self._database.inbox.hold(turn.claimed, wanted, self._database.principals.now, proposal=proposal)
            waits: dict[str, object] = {"type": "status", "status": MessageStatus.WAITING.value}
            self._database.progress.publish(turn.claimed.message_id, turn.message.address, waits)
        return True

    def refused(self, turn: Turn, spec: CommandSpec, proposal: str | None = None) -> bool:
        """Whether the asker may not run the command; then they are told."""
        decision = may(turn.principal, spec, self.access)
        if isinstance(decision, Refused):
            self.settle(turn, turn.asker.say(decision.reason, decision.reason_zh), failed=True, proposal=proposal)
        return not decision

    def start(self, turn: Turn, run: NewRun, proposal: str | None = None) -> RunClaim | None:
        """Start a run, or say which run followed already on the same one."""
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
            self.settle(turn, self._controls.followed(earlier.run_id, turn.asker), failed=not turn.is_said)
            return None

    def settle(
        self,
        turn: Turn,
        text: str,
        *,
        failed: bool = False,
        proposal: str | None = None,
        choices: tuple[Choice, ...] = (),
    ) -> None:
        """Answer the message; with `proposal`, close that in the same transaction."""
        reply = OutboundMessage(address=turn.message.address, text=text, choices=choices)
        status = MessageStatus.FAILED if failed else MessageStatus.ANSWERED
        self._database.inbox.settle(
            turn.claimed, [reply], principal_id=turn.principal.id, status=status, proposal=proposal
        )


def assistant_run(turn: Turn, **config: object) -> NewRun:
    """Return the run that answers a message in free text; `config` is more for its op `receive`."""
    receive: dict[str, object] = {"message_id": turn.claimed.message_id, **config}
    return NewRun(CORE, ASSISTANT, {"ops": {"receive": {"config": receive}}}, turn.tags(ASSISTANT))
