"""Messages that are reached too late to do what they say without another look: the `max_age` of a command."""

from datetime import datetime, timedelta

from integrations.database import Database
from integrations.durations import show_duration
from integrations.messages import OutboundMessage
from orchestration.commands.proposals import present
from orchestration.commands.spec import CommandSpec
from orchestration.commands.turn import Turn


def answer_to_late(
    database: Database, turn: Turn, spec: CommandSpec, args: dict[str, object], now: datetime
) -> OutboundMessage | None:
    """Return what is answered instead of running a command that was said too long ago; None where it may run.

    A person is asked again where the command says so; a program can't be asked.
    """
    age = now - turn.message.received_at
    if spec.max_age is None or age <= spec.max_age or spec.late == "run":
        return None
    unit = 60 if age >= timedelta(minutes=2) else 1
    say, long = turn.asker.say, show_duration(timedelta(seconds=age.total_seconds() // unit * unit))
    if spec.late == "ignore" or not turn.is_said:
        text = say(
            f"⌛ /{spec.name} was not run: the message was reached {long} late. Say it again if you still want it.",
            f"⌛ 未运行 /{spec.name}：消息在 {long} 后才被处理。如仍需要，请重新发送。",
        )
        return OutboundMessage(address=turn.message.address, text=text)
    proposal = database.proposals.put(turn.message.address, turn.principal.id, spec.name, args)
    question, choices = present(spec, args, proposal.id, turn.asker.language)
    note = say(f"⌛ You said this {long} ago.", f"⌛ 这条消息是 {long} 前发送的。")
    return OutboundMessage(address=turn.message.address, text=f"{note} {question}", choices=choices)
