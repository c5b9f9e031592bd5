"""`/schedule add`: what is to be said when. Read strictly, shown with its next times, made after the yes."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from integrations.access import Refused, may
from integrations.database import Database, NewSchedule
from integrations.messages import utc_now
from integrations.settings import Settings
from orchestration.commands.asker import Asker
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.help import command_line, explain, visible
from orchestration.commands.language import Language, pick
from orchestration.commands.parse import parse
from orchestration.commands.spec import CommandSpec
from orchestration.commands.tokens import Tokens
from orchestration.timing import Unclear, following, read

SHOWN = 3
"""Next times that are shown."""
_MISSED = {
    "skip": "skip", "once": "once", "all": "all", "跳过": "skip", "一次": "once", "全部": "all",
}  # fmt: skip
_OPTION = re.compile(r"(?:^|\s)(?:--)?(?:missed|补跑|错过)[=＝：:](?P<value>\S+)")
_DAYS = (
    ("Mon", "周一"),
    ("Tue", "周二"),
    ("Wed", "周三"),
    ("Thu", "周四"),
    ("Fri", "周五"),
    ("Sat", "周六"),
    ("Sun", "周日"),
)


@dataclass(frozen=True)
class Wish:
    """A schedule as it was understood: everything but who wants it."""

    said: str
    cron: str
    timezone: str
    command: str
    args: dict[str, object]
    missed: str

    def as_args(self) -> dict[str, object]:
        """Return the form in which a proposal keeps it."""
        return dict(vars(self))

    @classmethod
    def of(cls, args: dict[str, object]) -> "Wish":
        """Return what a proposal has kept."""
        return cls(**cast("dict[str, Any]", args))


class Making:
    """Reads, shows and makes schedules."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def zone(self, principal_id: str) -> str:
        """Return whose hours count for a principal."""
        return self._database.schedules.timezone(principal_id) or self._settings.schedules.timezone

    def understand(self, words: str, catalogue: Catalogue, asker: Asker) -> Wish | str:
        """Return what is wanted, or what is to be said of it."""
        parts = _parts(words, catalogue)
        if parts is None:
            return usage(asker)
        when, line = parts
        option = _OPTION.search(when)
        missed = _MISSED.get(option["value"].casefold()) if option else "once"
        if missed is None:
            return asker.say("`missed` is `skip`, `once` or `all`.", "“补跑”可以是：跳过、一次、全部。")
        try:
            found = read(_OPTION.sub(" ", when).strip())
        except Unclear as error:
            return "⚠️ " + asker.say(error.english, error.chinese) + _command_understood(line, catalogue, asker)
        parsed = parse("/" + line.lstrip("/／"), catalogue)
        spec = catalogue.find(parsed.command or "")
        if spec is None or parsed.errors:
            told = explain("/" + line.lstrip("/／"), parsed.errors, spec, asker.language)
            return f"{told}\n\n{_time_understood(when, found.cron, asker)}"
        if refusal := self._refusal(spec, parsed.args, asker):
            return refusal
        said = _OPTION.sub(" ", when).strip(" \"'“”「」")
        zone = found.zone or self.zone(asker.principal.id)
        return Wish(said, found.cron, zone, spec.name, parsed.args, missed)

    def question(self, wish: Wish, catalogue: Catalogue, asker: Asker) -> str:
        """Return what is asked before it is made: the exact command, when, and the next times."""
        spec = catalogue.find(wish.command)
        line = visible(command_line(spec, wish.args)) if spec else f"/{wish.command}"
        missed = _missed(wish.missed, asker.language)
        return asker.say(
            f"Shall I schedule this?\n\n```\n{line}\n```\n\n**{wish.said}** (`{wish.cron}`, {wish.timezone})\n"
            f"Next: {self.next(wish, asker.language)}\nMissed times: {missed}\n\nAnswer **yes** or **no**.",
            f"要建立这个定时任务吗？\n\n```\n{line}\n```\n\n**{wish.said}**（`{wish.cron}`，{wish.timezone}）\n"
            f"接下来：{self.next(wish, asker.language)}\n错过的时间：{missed}\n\n请回答**是**或**否**。",
        )

    def new(self, wish: Wish, catalogue: Catalogue, asker: Asker) -> NewSchedule | str:
        """Return what is to be kept, looked at anew, or what is to be said: code and rights may have changed."""
        spec = catalogue.find(wish.command)
        if spec is None or not spec.location:
            return asker.say("⚠️ This command no longer exists.", "⚠️ 该命令已不存在。")
        if refusal := self._refusal(spec, wish.args, asker):
            return refusal
        return NewSchedule(
            address=asker.address,
            direct=asker.direct,
            principal_id=asker.principal.id,
            account=asker.account,
            language=asker.language,
            said=wish.said,
            cron=wish.cron,
            timezone=wish.timezone,
            command=wish.command,
            args=wish.args,
            missed="skip" if wish.missed == "skip" else "all" if wish.missed == "all" else "once",
        )

    def next(self, wish: Wish | NewSchedule, language: Language, count: int = SHOWN) -> str:
        """Return the next times in words."""
        return " · ".join(shown(instant, language) for instant in following(wish.cron, wish.timezone, utc_now(), count))

    def _refusal(self, spec: CommandSpec, args: dict[str, object], asker: Asker) -> str | None:
        if not spec.location:
            return asker.say(
                f"Only workflows can be scheduled; /{spec.name} is answered on the spot.",
                f"只能定时运行工作流，/{spec.name} 是即时命令。",
            )
        allowed = may(asker.principal, spec, self._settings.access)
        if isinstance(allowed, Refused):
            return asker.say(allowed.reason, allowed.reason_zh)
        secret = [name for name in args if spec.by_name[name].secret]
        if secret:
            return asker.say(
                f"{secret[0]} is a secret, and a schedule keeps none. Let the job read it from a setting.",
                f"{secret[0]} 是机密参数，定时任务不保存机密。请让任务从设置中读取。",
            )
        return None


def _parts(words: str, catalogue: Catalogue) -> tuple[str, str] | None:
    """Return when and what: the time in quotes first, or all that stands before the first word that is a command."""
    found = Tokens(words).words(0)
    for place, word in enumerate(found):
        if place == 0 and word.quoted:
            continue
        spec = catalogue.find(word.text.lstrip("/／"))
        if place and spec is not None and spec.location:
            return words[: word.start].strip(), words[word.start :]
    quoted = bool(found) and found[0].quoted and len(found) > 1
    after = [word for word in found[1:] if not _OPTION.fullmatch(word.text)] if quoted else []
    return (words[: after[0].start].strip(), words[after[0].start :]) if after else None


def _command_understood(line: str, catalogue: Catalogue, asker: Asker) -> str:
    """Tell that the command is well, where it is, so that nobody looks for the mistake there."""
    parsed = parse("/" + line.lstrip("/／"), catalogue)
    if parsed.errors or catalogue.find(parsed.command or "") is None:
        return ""
    return asker.say(f"\nThe command was understood: `/{parsed.command}`.", f"\n命令已理解：`/{parsed.command}`。")


def _time_understood(when: str, cron: str, asker: Asker) -> str:
    said = when.strip(" \"'“”「」")
    return asker.say(f"The time was understood: {said} (`{cron}`).", f"时间已理解：{said}（`{cron}`）。")


def usage(asker: Asker) -> str:
    """Return how a schedule is made."""
    return asker.say(
        'Write when in quotes, then the command: `/schedule add "every monday 9:00" digest`. When may be `weekdays '
        "18:30`, `on the 1st of every month 8:00`, `every 15 minutes` or cron; add `missed=skip` or `missed=all` for "
        "times that were missed. Also: `list`, `show ID`, `pause ID`, `resume ID`, `remove ID`, `run-now ID`, "
        "`timezone Europe/Berlin`.",
        "请先写时间（加引号），再写命令：`/定时 添加 “每周一上午九点” 日报`。时间可以是“工作日 18:30”“每月1号 8:00”"
        "“每15分钟”或 cron；错过的时间可加 `补跑=跳过` 或 `补跑=全部`。其他：`列表`、`查看 ID`、`暂停 ID`、`恢复 ID`、"
        "`删除 ID`、`立即 ID`、`时区 Asia/Shanghai`。",
    )


def shown(instant: datetime, language: Language) -> str:
    """Return an instant as its own time zone's clocks show it, with its offset: it differs in summer."""
    day = pick(language, *_DAYS[instant.weekday()])
    offset = instant.strftime("%z")
    return f"{day} {instant:%Y-%m-%d %H:%M} ({offset[:3]}:{offset[3:]})"


def _missed(missed: str, language: Language) -> str:
    return pick(
        language,
        {"skip": "skipped", "once": "made up for once", "all": "made up for one by one"}[missed],
        {"skip": "跳过", "once": "补跑一次", "all": "逐一补跑"}[missed],
    )
