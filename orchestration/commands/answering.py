"""What was said, or filled in, for the arguments that were asked for: the command runs, or is asked about on."""

from collections.abc import Callable

from integrations.database import Database, Pending, RunClaim
from orchestration.commands.asking import OURS, Lacking, required
from orchestration.commands.help import explain
from orchestration.commands.parse import Parsed, parse_structured
from orchestration.commands.problems import GONE
from orchestration.commands.publishing import CurrentCatalogue
from orchestration.commands.secrecy import secrets_in
from orchestration.commands.spec import CommandSpec
from orchestration.commands.starting import Starting
from orchestration.commands.turn import Turn

Sealed = Callable[[Turn, CommandSpec, Parsed], Parsed]
"""Returns what was parsed with its secrets sealed, and takes them out of the turn."""


class Answering:
    """Goes on with a command that waits for its arguments. Thread-safe; blocks."""

    def __init__(self, database: Database, catalogue: CurrentCatalogue, starting: Starting, sealed: Sealed) -> None:
        self._questions = database.questions
        self._catalogue = catalogue
        self._starting = starting
        self._sealed = sealed

    def open(self, turn: Turn) -> Pending | None:
        """Return what waits for this person's answer here."""
        return self._questions.open(turn.message.address, turn.principal.id)

    def said(self, turn: Turn, pending: Pending, zone: str) -> RunClaim | None:
        """Take the text for the argument that was asked for."""
        text = turn.message.text
        values: dict[str, object] = {pending.argument: text} if text.strip() else {}
        found = self._read(turn, pending, values, zone)
        if found is None:
            return None
        spec, parsed = found
        if spec.by_name[pending.argument].secret:
            turn.hide(spec, [(0, len(text))])
        parsed = self._sealed(turn, spec, parsed)
        return self._go_on(
            turn, Lacking(spec, parsed.args, required(spec, parsed.args), values, parsed.errors), parsed.args
        )

    def filled(self, turn: Turn, zone: str) -> RunClaim | None:
        """Take a form of our own page, if it is the one that waits here; it may take the question back, too."""
        message, pending = turn.message, self.open(turn)
        if pending is None or pending.form is None or pending.form != message.subject:
            return self._closed(turn)
        turn.speak(pending.language)
        if message.command is None:
            return self._taken_back(turn, pending.form)
        values = {name: value for name, value in message.args.items() if str(value).strip()}
        found = self._read(turn, pending, values, zone)
        if found is None:
            return None
        spec, parsed = found
        parsed = self._sealed(turn, spec, parsed)
        # What is sealed is not asked for again; all else stays in the form, to be corrected.
        known = pending.args | {name: parsed.args[name] for name in secrets_in(spec, parsed.args)}
        return self._go_on(
            turn, Lacking(spec, known, required(spec, known), values, parsed.errors, pending.form), parsed.args
        )

    def _read(
        self, turn: Turn, pending: Pending, values: dict[str, object], zone: str
    ) -> tuple[CommandSpec, Parsed] | None:
        """Return the command and its arguments with these values; None where it is gone, which is told."""
        turn.speak(pending.language)
        spec = self._catalogue(afresh=True).find(pending.command)
        if spec is None or pending.argument not in spec.by_name:
            self._questions.drop(turn.message.address, turn.principal.id)
            turn.blank()
            self._starting.settle(turn, GONE.message, failed=True)
            return None
        whole = {**pending.args, **values}
        return spec, parse_structured(spec.name, whole, self._catalogue(), turn.asker.language, turn.moment(zone))

    def _go_on(self, turn: Turn, lacking: Lacking, args: dict[str, object]) -> RunClaim | None:
        if self._starting.refused(turn, lacking.spec):
            return None
        if not lacking.wrong:
            return self._starting.start_command(turn, lacking.spec, args)
        if not self._starting.ask(turn, lacking):
            text = explain("", lacking.wrong, lacking.spec, turn.asker.language)
            self._starting.settle(turn, text, failed=True)
        return None

    def _taken_back(self, turn: Turn, form: str) -> None:
        if not self._questions.drop(turn.message.address, turn.principal.id, form=form):
            return self._closed(turn)
        return self._starting.settle(turn, turn.asker.say("All right, I ask no further.", "好的，不再询问。"))

    def _closed(self, turn: Turn) -> None:
        """Tell that the form counts no more; what was filled in is not kept."""
        turn.blank()
        say = turn.asker.say
        text = say("That form is closed; nothing was done with it.", "该表单已关闭，未执行任何操作。")
        self._starting.settle(turn, text, failed=True)


def is_ours(turn: Turn) -> bool:
    """Whether the message is a form of our own page, which counts only while its question waits."""
    return turn.message.kind == "form" and turn.message.address.channel in OURS
