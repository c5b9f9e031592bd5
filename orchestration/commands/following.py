"""What starts because of something said before: the yes to a proposal, an approval, a retry, once more."""

from dataclasses import replace

from integrations.access import may
from integrations.database import Database, NewRun, Proposal, RunClaim
from integrations.errors import NotFound
from orchestration.commands import consent
from orchestration.commands.asking import wanting
from orchestration.commands.binding import bind_values
from orchestration.commands.control import Controls
from orchestration.commands.help import explain
from orchestration.commands.problems import GONE
from orchestration.commands.proposals import PLAN, digest
from orchestration.commands.publishing import CurrentCatalogue
from orchestration.commands.scheduling import NAME as SCHEDULE
from orchestration.commands.scheduling import Scheduling
from orchestration.commands.starting import Starting, assistant_run
from orchestration.commands.turn import Turn


class Following:
    """Carries out what was shown, approved or run before, as far as it still holds. Thread-safe; blocks."""

    def __init__(
        self,
        database: Database,
        catalogue: CurrentCatalogue,
        controls: Controls,
        scheduling: Scheduling,
        starting: Starting,
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._controls = controls
        self._scheduling = scheduling
        self._starting = starting

    def decide(self, turn: Turn, proposal: Proposal, *, agreed: bool) -> RunClaim | None:
        """Carry out exactly what was shown, or nothing. The proposal closes in the same transaction."""
        say = turn.asker.say
        try:
            if agreed:
                return self._agreed(turn, proposal)
            self._starting.settle(
                turn, say("All right, nothing was run.", "好的，没有运行任何东西。"), proposal=proposal.id
            )
        except NotFound:
            self._starting.settle(turn, say("That was decided already.", "这个提议已经处理过了。"))
        return None

    def _agreed(self, turn: Turn, proposal: Proposal) -> RunClaim | None:
        """Raises `NotFound` where it was decided before."""
        if proposal.command == PLAN:
            run = assistant_run(turn, plan=proposal.id, digest=digest(proposal.args))
            return self._starting.start(turn, run, proposal.id)
        if proposal.command == SCHEDULE:
            made = self._scheduling.make(proposal.args, turn.asker, proposal.id)
            self._starting.settle(turn, made, proposal=proposal.id)
            return None
        spec = self._catalogue(afresh=True).find(proposal.command)
        if spec and self._starting.refused(turn, spec, proposal.id):
            return None
        args, problems = bind_values(spec, proposal.args, turn.asker.language) if spec else ({}, [GONE])
        if spec and not problems:
            return self._starting.start_command(turn, spec, proposal.args, proposal=proposal.id)
        # What is missing is a secret, which nobody proposes; else the code changed between the question and the yes.
        if spec is None or not self._starting.ask(turn, wanting(spec, args, problems), proposal=proposal.id):
            text = explain("", problems, spec, turn.asker.language)
            self._starting.settle(turn, text, failed=True, proposal=proposal.id)
        return None

    def approved(self, turn: Turn, approval_id: str) -> RunClaim | None:
        """Start exactly what was approved, if whoever asked for it still may."""
        found = self._database.approvals.get(approval_id, turn.principal.tenant)
        spec = self._catalogue(afresh=True).find(found.subject) if found else None
        if found is not None:
            turn.speak(found.language)
        run = consent.approved_run(turn, found, spec)
        if spec is not None and run is not None and may(turn.principal, spec, self._starting.access):
            if run.retry_of is not None:
                run = replace(run, asked=self._database.follow_ups.asked(run.retry_of))
            return self._starting.start(turn, run)
        say = turn.asker.say
        why = say("what was approved can't be run any more", "已批准的内容无法再运行")
        self._database.approvals.revoke(approval_id, why)
        if spec is None or not self._starting.refused(turn, spec):
            text = f"🚫 {approval_id}: {why}. " + say(
                "Nothing was run; say it again.", "没有运行任何内容，请重新提出。"
            )
            self._starting.settle(turn, text, failed=True)
        return None

    def retry(self, turn: Turn, word: str) -> RunClaim | None:
        """Go on with a failed run under this message's own run id."""
        found = self._controls.failed(word, turn.asker)
        if isinstance(found, str):
            self._starting.settle(turn, found, failed=turn.message.command is not None)
            return None
        spec = self._catalogue().of_job(found.location, found.job)
        if spec is None and not turn.asker.is_admin:
            self._starting.settle(turn, GONE.message, failed=True)
            return None
        if spec is not None and (
            self._starting.refused(turn, spec) or self._starting.held(turn, spec, {consent.RETRY: found.run_id})
        ):
            return None
        asked, tags = self._database.follow_ups.asked(found.run_id), turn.tags(found.job)
        at_once = spec.at_once(asked.args) if spec and asked else None
        run = NewRun(found.location, found.job, {}, tags, retry_of=found.run_id, asked=asked, at_once=at_once)
        return self._starting.start(turn, run)

    def again(self, turn: Turn, word: str) -> RunClaim | None:
        """Ask once more for the command of a run, with its arguments, as if it were typed now."""
        found = self._controls.repeatable(word, turn.asker)
        asked = None if isinstance(found, str) else self._database.follow_ups.asked(found.run_id)
        if isinstance(found, str) or asked is None:
            none = turn.asker.say("That run was no command; just say it again.", "该运行不是命令，请直接再说一遍。")
            self._starting.settle(
                turn, found if isinstance(found, str) else none, failed=turn.message.command is not None
            )
            return None
        spec = self._catalogue(afresh=True).find(asked.command)
        if spec is not None and self._starting.refused(turn, spec):
            return None
        problems = bind_values(spec, asked.args, turn.asker.language)[1] if spec else [GONE]
        if spec is None or problems:
            self._starting.settle(turn, explain("", problems, spec, turn.asker.language), failed=True)
            return None
        return self._starting.start_command(turn, spec, asked.args, again_of=found.run_id)
