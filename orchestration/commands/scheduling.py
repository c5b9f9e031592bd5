"""`/schedule …`: what a person makes known to run at set times, where, and what becomes of it. See `making.py`."""

from collections.abc import Callable
from typing import Protocol

from integrations.access import Refused
from integrations.database import Database, NewSchedule, Schedule
from integrations.errors import NotFound, Overloaded
from integrations.messages import Choice, InboundMessage, utc_now
from integrations.settings import Settings
from orchestration.commands.asker import Asker
from orchestration.commands.asking import can_be_asked
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.making import Making, Wish, shown, usage
from orchestration.commands.proposals import choices
from orchestration.commands.standing import lapse
from orchestration.commands.vocabulary import command_word_of
from orchestration.timing import following, zone_named

NAME = "schedule"
LEAST_PREFIX = 3
MOST_WITH_BUTTONS = 3
"""Schedules of a list that have all their buttons; of more, each has one that shows it, with its buttons."""
MOST_SHOWN = 500
"""Characters of a schedule's last answer that are shown."""
_WORDS = {
    "add": "add new create make 添加 新增 新建 加",
    "list": "list ls all 列表 所有 全部",
    "show": "show 查看 详情",
    "pause": "pause stop off 暂停 停止",
    "resume": "resume start on continue 恢复 继续 启用",
    "remove": "remove delete rm 删除 移除 取消",
    "run": "run-now run_now runnow run now 立即 立即运行 马上",
    "timezone": "timezone time-zone tz zone 时区",
}
_MEANT = {word: name for name, words in _WORDS.items() for word in words.split()}


class Switches(Protocol):
    """The part of Dagster that switches schedules on and off."""

    def on(self, name: str, cron: str) -> None:
        """Switch one on from now."""
        ...

    def off(self, name: str, cron: str) -> None:
        """Switch one off."""
        ...

    def forget(self, name: str) -> None:
        """Drop the state of one that was removed."""
        ...

    def running(self, names: list[str]) -> set[str]:
        """Return those that are on."""
        ...


class NoSwitches:
    """For a process without a Dagster instance: schedules are kept, and none is on."""

    def on(self, name: str, cron: str) -> None:
        """Change nothing: nobody would evaluate it."""

    def off(self, name: str, cron: str) -> None:
        """Change nothing: it is off."""

    def forget(self, name: str) -> None:
        """Change nothing: nothing is kept."""

    def running(self, names: list[str]) -> set[str]:
        """Return none."""
        del names
        return set()


Said = tuple[str, tuple[Choice, ...]]


def words_of(message: InboundMessage) -> str:
    """Return what follows `/schedule`, as it was typed; a program gives it as the argument `what`."""
    if message.command:
        return str(next(iter(message.args.values()), ""))
    head = command_word_of(message.text)
    return message.text[head[2] :] if head else ""


class Scheduling:
    """Answers `/schedule …`. Thread-safe; blocks on the database only."""

    def __init__(
        self, database: Database, settings: Settings, switches: Switches, catalogue: Callable[[], Catalogue]
    ) -> None:
        self._database = database
        self._settings = settings
        self._switches = switches
        self._catalogue = catalogue
        self._making = Making(database, settings)

    def answer(self, words: str, asker: Asker, message_id: str) -> Said:
        """Return the answer to what follows `/schedule`, with buttons where it is a question."""
        first, _, rest = words.strip().partition(" ")
        verb = _MEANT.get(first.casefold(), "add" if first else "list")
        if verb == "add":
            return self._add(rest if first.casefold() in _MEANT else words, asker, message_id)
        if verb == "list":
            return self._list(asker)
        if verb == "timezone":
            return self._timezone(rest.strip(), asker), ()
        found = self._find(rest, asker)
        if isinstance(found, str):
            return found, ()
        if verb == "run":
            return self._run_now(found, asker, message_id), ()
        about = {"show": self._show, "pause": self._pause, "resume": self._resume, "remove": self._remove}
        told = about[verb](found, asker)
        return told if isinstance(told, tuple) else (told, ())

    def make(self, args: dict[str, object], asker: Asker, made_by: str) -> str:
        """Make what was agreed to; the same `made_by` again changes nothing."""
        new = self._making.new(Wish.of(args), self._catalogue(), asker)
        return new if isinstance(new, str) else self._keep(new, asker, made_by)

    def _add(self, words: str, asker: Asker, message_id: str) -> Said:
        catalogue = self._catalogue()
        wish = self._making.understand(words, catalogue, asker)
        if isinstance(wish, str):
            return wish, ()
        if not can_be_asked(asker):
            return self.make(wish.as_args(), asker, message_id), ()
        proposal = self._database.proposals.put(asker.address, asker.principal.id, NAME, wish.as_args())
        return self._making.question(wish, catalogue, asker), choices(proposal.id, asker.language)

    def _keep(self, new: NewSchedule, asker: Asker, made_by: str) -> str:
        most = self._settings.schedules.per_principal
        try:
            schedule = self._database.schedules.add(new, made_by=made_by, most=most)
        except Overloaded as error:
            return asker.say(
                f"⚠️ No more can be kept: {error}. `/schedule remove ID` makes room.",
                f"⚠️ 数量已达上限（每人最多 {most} 个）。请先用 `/定时 删除 ID` 删除。",
            )
        self._switches.on(schedule.name, new.cron)
        url = self._settings.schedule_url(schedule.name)
        times = self._making.next(new, asker.language, 1)
        return asker.say(
            f"⏰ `{schedule.id}`: /{new.command}, {new.said}. First: {times}. {_answers(schedule, asker)} "
            f"[In Dagster]({url}); `/schedule list` shows all.",
            f"⏰ `{schedule.id}`：/{new.command}，{new.said}。首次：{times}。{_answers(schedule, asker)}"
            f"[在 Dagster 中查看]({url})；`/定时 列表` 查看全部。",
        )

    def _list(self, asker: Asker) -> Said:
        found = self._of(asker)
        if not found:
            return asker.say("There are no schedules yet. ", "还没有定时任务。") + usage(asker), ()
        on = self._switches.running([schedule.name for schedule in found])
        lines = [self._line(one, asker, on=one.name in on) for one in found]
        if len(found) <= MOST_WITH_BUTTONS:
            buttons = [button for one in found for button in _buttons(one, asker, on=one.name in on)]
        else:
            buttons = [_button(one, asker, "Show", "查看", "show") for one in found]
        return "\n".join([asker.say("**Schedules**", "**定时任务**"), *lines]), tuple(buttons)

    def _line(self, schedule: Schedule, asker: Asker, *, on: bool) -> str:
        what = schedule.what
        when = f"{what.said} ({what.timezone})"
        if on:
            times = following(what.cron, what.timezone, utc_now(), 1)
            state = asker.say("next", "下次") + f" {shown(times[0], asker.language)}" if times else ""
        else:
            state = self._pause_reason(schedule, asker)
        name = f"[{schedule.id}]({self._settings.schedule_url(schedule.name)})"
        return f"- {'▶' if on else '⏸'} {name} /{what.command} · {when} · {state}"

    def _pause_reason(self, schedule: Schedule, asker: Asker) -> str:
        why = schedule.paused_why
        return asker.say("paused", "已暂停") + (f": {why}" if why else "")

    def _show(self, schedule: Schedule, asker: Asker) -> Said:
        what, on = schedule.what, bool(self._switches.running([schedule.name]))
        place = f"{what.address.channel}/{what.address.conversation}"
        last = self._database.inbox.get(schedule.last_message) if schedule.last_message else None
        lines = [
            self._line(schedule, asker, on=on).removeprefix("- "),
            f"`{what.cron}` · {place} · missed={what.missed}",
            *([asker.say("Next: ", "接下来：") + self._making.next(what, asker.language)] if on else []),
            *(f"{name}={value}" for name, value in what.args.items()),
        ]
        if last is not None and last.run_id:
            url = self._settings.run_url(last.run_id)
            lines.append(asker.say("Last: ", "上次：") + f"[{last.run_id[:8]}]({url}) · {last.status.value}")
            lines += [f"> {line}" for one in last.replies[-1:] for line in one.text[:MOST_SHOWN].splitlines()]
        return "\n".join(lines), _buttons(schedule, asker, on=on)

    def _pause(self, schedule: Schedule, asker: Asker) -> str:
        self._switches.off(schedule.name, schedule.what.cron)
        return asker.say(
            f"⏸ `{schedule.id}` is paused. `/schedule resume {schedule.id}` lets it go on.",
            f"⏸ `{schedule.id}` 已暂停。`/定时 恢复 {schedule.id}` 可恢复。",
        )

    def _resume(self, schedule: Schedule, asker: Asker) -> str:
        why = self._lapse(schedule)
        if why is not None:
            return asker.say(f"⚠️ It stays paused: {why.reason}", f"⚠️ 无法恢复：{why.reason_zh}")
        self._database.schedules.resume(schedule.id)
        self._switches.on(schedule.name, schedule.what.cron)
        times = self._making.next(schedule.what, asker.language, 1)
        return asker.say(f"▶ `{schedule.id}` goes on. Next: {times}", f"▶ `{schedule.id}` 已恢复。下次：{times}")

    def _remove(self, schedule: Schedule, asker: Asker) -> str:
        self._switches.off(schedule.name, schedule.what.cron)
        self._database.schedules.remove(schedule.id)
        self._switches.forget(schedule.name)
        return asker.say(f"🗑 `{schedule.id}` is removed.", f"🗑 `{schedule.id}` 已删除。")

    def _run_now(self, schedule: Schedule, asker: Asker, message_id: str) -> str:
        why = self._lapse(schedule)
        if why is not None:
            return asker.say(f"⚠️ It was not run: {why.reason}", f"⚠️ 未运行：{why.reason_zh}")
        what = schedule.what
        try:
            self._database.schedules.fire(schedule, f"now:{message_id}")
        except NotFound:
            return asker.say("It was removed a moment ago.", "刚刚已被删除。")
        here = what.address == asker.address
        return asker.say(
            f"⏰ /{what.command} runs; it answers {'here' if here else 'where it was made'}.",
            f"⏰ 正在运行 /{what.command}，结果会发到{'这里' if here else '创建它的会话'}。",
        )

    def _timezone(self, name: str, asker: Asker) -> str:
        if not name:
            zone = self._making.zone(asker.principal.id)
            return asker.say(
                f"Your time zone is {zone}. `/schedule timezone Europe/Berlin` changes it.",
                f"你的时区是 {zone}。`/定时 时区 Asia/Shanghai` 可修改。",
            )
        zone = zone_named(name)
        if zone is None:
            return asker.say(
                f"There is no time zone {name[:64]!r}; write one such as Europe/Berlin or Asia/Shanghai.",
                f"没有时区“{name[:64]}”；例如 Asia/Shanghai。",
            )
        self._database.schedules.set_timezone(asker.principal.id, zone)
        self._database.principals.refresh()
        return asker.say(
            f"Your time zone is {zone}: for days and times that you name and are told, and schedules made from now on.",
            f"时区已设为 {zone}，适用于你输入和看到的时间，以及之后新建的定时任务。",
        )

    def _lapse(self, schedule: Schedule) -> Refused | None:
        return lapse(self._database, self._settings, self._catalogue(), schedule)

    def _of(self, asker: Asker) -> list[Schedule]:
        """Return the asker's schedules, also those of accounts that were tied to them; an administrator has all."""
        who = asker.principal
        mine = None if asker.is_admin else [who.id, *self._database.linking.left(who.id)]
        return self._database.schedules.all(tenant=who.tenant, owners=mine)

    def _find(self, word: str, asker: Asker) -> Schedule | str:
        """Return the asker's schedule whose id begins so; an administrator's are everybody's."""
        prefix = word.strip("` ").rpartition("_")[2].casefold()
        found = [one for one in self._of(asker) if len(prefix) >= LEAST_PREFIX and one.id.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        return asker.say(
            f"Which one? `/schedule list` shows their ids; give at least {LEAST_PREFIX} characters of one.",
            f"哪一个？`/定时 列表` 可查看 ID，请至少输入前 {LEAST_PREFIX} 个字符。",
        )


def _buttons(schedule: Schedule, asker: Asker, *, on: bool) -> tuple[Choice, ...]:
    """Return what can be done with a schedule; each says what can be typed as well, and is looked at when it is."""
    pause_or_resume = ("Pause", "暂停", "pause") if on else ("Resume", "恢复", "resume")
    return (
        _button(schedule, asker, *pause_or_resume),
        _button(schedule, asker, "Run now", "立即运行", "run-now"),
        _button(schedule, asker, "Remove", "删除", "remove").model_copy(update={"style": "danger"}),
    )


def _button(schedule: Schedule, asker: Asker, label: str, chinese: str, verb: str) -> Choice:
    text = asker.say(f"/schedule {verb} {schedule.id}", f"/定时 {chinese} {schedule.id}")
    return Choice(label=f"{asker.say(label, chinese)} {schedule.id}", text=text)


def _answers(schedule: Schedule, asker: Asker) -> str:
    """Tell where it answers; a program's conversation is read by nobody, so there it is named with how to read it."""
    if asker.address.channel != "rest":
        return asker.say("I answer here.", "结果会发到这里。")
    return asker.say(
        f"I answer in the conversation `{asker.address.conversation}`, whose last answer "
        f"`/schedule show {schedule.id}` shows.",
        f"结果会发到会话 `{asker.address.conversation}`，`/定时 查看 {schedule.id}` 可查看最近一次结果。",
    )
