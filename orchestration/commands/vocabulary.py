"""The words that Runbell itself understands: control commands with their aliases, yes and no."""

import re
import unicodedata

from orchestration.commands.spec import Argument, CommandSpec

_TEXT: dict[str, object] = {"type": "string"}
_IGNORED = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_HEAD = re.compile(r"[\s\u200b-\u200f\ufeff]{0,1000}(?P<slash>[/／])(?P<word>[^\s：]{1,200})：?")
_NAME = re.compile(r"[\w.-]+")
_CLOSING = ".。!！?？:：,，;；"


def _control(
    name: str, aliases: tuple[str, ...], english: str, chinese: str, argument: str | None = None
) -> CommandSpec:
    arguments = (Argument(name=argument, path=(argument,), json_schema=_TEXT),) if argument else ()
    return CommandSpec(
        name=name,
        location="",
        job="",
        description=english,
        description_zh=chinese,
        arguments=arguments,
        rest=argument,
        aliases=aliases,
    )


CONTROLS = (
    _control("help", ("h", "commands", "帮助", "命令", "说明"), "What you can ask for", "可以使用哪些命令", "name"),
    _control("status", ("状态",), "What runs now", "现在正在运行什么"),
    _control("runs", ("运行", "记录"), "Your last ten runs", "你最近的十次运行"),
    _control(
        "cancel", ("stop", "取消", "停止"), "Cancel what runs here, or a run by its id", "取消当前或指定的运行", "run"
    ),
    _control("show", ("查看",), "What became of a run", "查看一次运行", "run"),
    _control("why", ("为什么", "耗时"), "Where the time went", "时间花在哪里", "run"),
    _control("logs", ("log", "日志"), "What a run printed and logged", "一次运行的输出和日志", "run"),
    _control("retry", ("重试",), "Go on with a failed run where it failed", "从失败处重试", "run"),
    _control("again", ("rerun", "再次", "再来一次"), "Run once more what a run did", "再次运行", "run"),
    _control("approve", ("批准", "同意"), "Approve what waits for you", "批准待审批的请求", "approval"),
    _control("deny", ("reject", "拒绝", "驳回"), "Deny what waits for you", "拒绝待审批的请求", "approval"),
    _control("approvals", ("审批", "待审批"), "What waits for approval", "等待审批的请求", "approval"),
    _control(
        "schedule",
        ("schedules", "定时", "定时任务", "日程"),
        'Run a command at set times: `/schedule add "every monday 9:00" …`',
        "定时运行命令：`/定时 添加 “每周一上午九点” …`",
        "what",
    ),
    _control("model", ("模型",), "Which model answers here; choose another", "查看或选择回答的模型", "name"),
    _control("whoami", ("me", "我是谁"), "Who you are here", "查看你的身份"),
    _control("link", ("绑定", "关联"), "Be the same person on several networks", "在多个平台使用同一身份", "code"),
    _control(
        "forget",
        ("忘记", "遗忘"),
        "Remove this conversation and what was remembered",
        "删除对话和记忆",
        "confirm",
    ),
)
STARTING = frozenset({"retry", "again"})
OVERTAKING = frozenset(
    word for control in CONTROLS if control.name not in STARTING for word in (control.name, *control.aliases)
)
"""The control commands that are answered whatever else goes on; those that make a run have their turn."""

YES = frozenset(
    {"yes", "y", "ok", "okay", "sure", "yep", "yeah"}
    | {"好", "好的", "好吧", "是", "是的", "对", "确认", "确定", "可以", "行", "嗯"}
)
NO = frozenset({"no", "n", "nope", "cancel", "不", "不要", "不用", "不是", "否", "取消", "算了", "别"})


def same_name(word: str) -> str:
    """Return the form in which names are compared: half-width, lower case, `_` for `-`, nothing invisible."""
    return _IGNORED.sub("", unicodedata.normalize("NFKC", word[:200])).casefold().replace("-", "_").strip()


def command_word_of(text: str) -> tuple[str, int, int] | None:
    """Return the word behind a leading slash and where it stands (slash included), or None for free text.

    `/etc/passwd` and `// note` are free text: a command's name has letters, digits, `_`, `-` and `.` only.
    """
    match = _HEAD.match(text)
    if match is None or not _NAME.fullmatch(word := _IGNORED.sub("", match["word"]).rstrip(_CLOSING)):
        return None
    return word, match.start("slash"), match.end()


def yes_or_no(text: str) -> bool | None:
    """Return the decision that a short message is, or None where it is neither yes nor no."""
    if len(text) > 40:
        return None
    word = same_name(text).strip(" .!！。~～,，")
    return True if word in YES else False if word in NO else None
