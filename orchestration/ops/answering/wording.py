"""What the assistant says of itself, in the asker's language."""

import re
from collections.abc import Sequence

from integrations.memory.values import Recollection
from orchestration.commands.language import Language, pick
from orchestration.commands.spec import CommandSpec
from orchestration.ops.answering.values import Heard

_INTRODUCE = re.compile(
    r"^\W*(?:(?:hi|hello|hey)\W+)?(?:who|what) are you(?: (?:called|exactly))?\W*$"
    r"|^\W*(?:please\s+)?(?:tell me (?:something )?about yourself|introduce yourself)\W*$"
    r"|^\W*what (?:can|do|could) you (?:do|help(?: me)? with|know)(?: for me)?\W*$"
    r"|^\W*(?:what is|what's) your name\W*$"
    r"|^\W*(?:how (?:do|can) (?:i|you) (?:use you|help(?: me)?)|can you help(?: me)?|help(?: me)?)\W*$"
    r"|^\W*(?:你|您)(?:是谁|叫什么(?:名字)?|是什么|能做(?:些)?什么|会做?(?:些)?什么|能帮我(?:做)?(?:些)?什么|可以做(?:些)?什么)(?:呢|啊|呀)?\W*$"
    r"|^\W*(?:请)?(?:介绍一?下?(?:你|您)?自己|自我介绍)\W*$",
    re.IGNORECASE,
)
_GREETING_ZH = re.compile(
    r"^\W*(?:你好|您好|大家好|嗨|哈喽|早上好|早安|早|下午好|晚上好|晚安|谢谢|多谢|再见|拜拜)[呀啊吗了你您]*\W*$"
)
_PLEASANTRY = re.compile(
    r"^\W*(?:(?:hi|hello|hey|good (?:morning|afternoon|evening|night|day)"
    r"|thanks?(?: you)?(?: so much| a lot| very much)?|thx|bye|goodbye|see you|cheers"
    r"|how are you(?: doing)?(?: today)?|there|runbell|all|everyone)\W*)+$",
    re.IGNORECASE,
)
ENGLISH_ONLY = ("smollm",)
"""Beginnings of the names of models that know no Chinese."""


def is_pleasantry(text: str) -> bool:
    """Whether the message greets or thanks, so that its answer states nothing that could be wrong."""
    return len(text) < 80 and bool(_PLEASANTRY.match(text) or _GREETING_ZH.match(text))


def is_introduction(text: str) -> bool:
    """Whether the message asks who answers here, or what for."""
    return len(text) < 80 and bool(_INTRODUCE.match(text))


def introduction(language: Language, model: str | None, commands: Sequence[CommandSpec]) -> str:
    """Say what Runbell is and can do: facts, so no model is asked."""
    talker = model or pick(language, "a language model", "语言模型")
    lines = [f"- `/{spec.name}` {_describe(spec, language)}".rstrip() for spec in commands[:8]]
    shown = "\n".join(lines) + "\n\n" if lines else ""
    return pick(
        language,
        "I am Runbell. I run workflows, remember what you tell me, and answer questions.\n\n"
        f"{shown}`/help` shows all commands. General talk comes from {talker}; a stronger model "
        "can be plugged in.",
        f"我是 Runbell：运行工作流，记住你告诉我的事，回答问题。\n\n{shown}`/help` 列出所有命令。"
        f"闲聊由{model or '语言模型'}回答，可以换成更强的模型。",
    )


def general_talk(language: Language, model: str) -> str:
    """Return the note under an answer that rests on nothing but the model."""
    return pick(
        language,
        f"_General talk by {model}, not from memory; it may be wrong._",
        f"_以上是 {model} 的一般性回答，并非来自记忆，可能有误。_",
    )


def without_notes(text: str) -> str:
    """Return an earlier answer without the notes under it."""
    kept = [line for line in text.splitlines() if not (line.startswith("_") and line.endswith("_"))]
    return "\n".join(kept).strip()


def no_chinese(text: str, model: str) -> str:
    """Say in Chinese that this model knows none, and what works nevertheless."""
    hello = "你好！" if _GREETING_ZH.match(text) else ""
    return (
        f"{hello}现在用的小模型 {model} 不懂中文，没法可靠地闲聊。你可以：用 `/help` 查看命令；"
        "直接用一句话说要运行什么；告诉我要记住的事，之后再问我；或在 `runbell.toml` 里换一个更强的模型。"
    )


def noted(language: Language, note: str, *, reachable: bool) -> str:
    """Acknowledge what shall be remembered."""
    if not reachable:
        return pick(
            language,
            "I could not reach my memory just now, so I could not keep this. Please tell me again later.",
            "我现在连不上记忆，没能记住这件事，请稍后再告诉我一次。",
        )
    return pick(language, f"I will remember that:\n\n{quoted(note)}", f"我会记住：\n\n{quoted(note)}")


def from_memory(language: Language, lead: str | None, passage: Recollection) -> str:
    """Quote a passage with its source, under one sentence."""
    lead = lead or pick(language, "This is what I remember:", "我记得：")
    return f"{lead}\n\n{quoted(passage.text)}\n\n{source_line(language, passage)}"


def source_line(language: Language, passage: Recollection) -> str:
    """Name who said it, where and when."""
    when = passage.at.strftime(pick(language, "%-d %B %Y, %H:%M UTC", "%Y年%-m月%-d日 %H:%M UTC"))
    return f"— {passage.source}, {when}"


def perhaps(language: Language, command: str) -> str:
    """Name a command that may have been meant."""
    return pick(
        language,
        f"_If you wanted to run something: `/help {command}`._",
        f"_如果你是想运行命令：`/help {command}`。_",
    )


def speaks_as_asker(sentence: str) -> bool:
    """Whether a sentence says "I" or "my" where it should say "you" or "your"."""
    return bool(re.search(r"\b(?:I|[Mm]y|[Ww]e|[Oo]ur|me|us)\b", sentence))


def memory_unreachable(language: Language) -> str:
    """Say that the answer was made without memory."""
    return pick(language, "_I could not reach my memory just now._", "_我现在连不上记忆。_")


def only_beginning(heard: Heard, read: int) -> str:
    """Say how much of a long message was considered."""
    seen, whole = f"{read:,}", f"{heard.characters:,}"
    return pick(
        heard.language,
        f"_Your message has {whole} characters; I could only consider the first {seen}._",
        f"_你的消息有 {whole} 个字符，我只能考虑前 {seen} 个。_",
    )


def not_understood(language: Language) -> str:
    """Say that there is nothing to answer in a message without words."""
    return pick(
        language,
        "I see no words in that. Ask me something, or type `/help`.",
        "我没看到文字。请提问，或输入 `/help`。",
    )


def not_remembered(language: Language, *, reachable: bool) -> str:
    """Say that the memory has nothing, instead of letting a model invent it."""
    if not reachable:
        return pick(
            language,
            "That is a question for my memory, and I could not reach it just now. Please ask again later.",
            "这要问我的记忆，但我现在连不上，请稍后再问。",
        )
    return pick(
        language,
        "I have nothing about that in my memory. Tell me, and I will remember it.",
        "我的记忆里没有这件事。告诉我，我会记住。",
    )


def no_words(language: Language) -> str:
    """Say that the model returned nothing."""
    return pick(
        language,
        "The language model returned no words. Please put it another way.",
        "语言模型没有给出回答，请换一种说法。",
    )


def no_more_rounds(language: Language) -> str:
    """Say that the model wanted to go on, and may not."""
    return pick(
        language,
        "I may plan no more for one request (setting plans.rounds). Ask for the rest, and I will go on.",
        "一次请求的规划轮数已用完（设置 plans.rounds）。请再次提出剩余的部分。",
    )


def quoted(text: str) -> str:
    """Return a text as a Markdown quotation."""
    return "\n".join(f"> {line}" for line in text.strip().splitlines())


def _describe(spec: CommandSpec, language: Language) -> str:
    english = spec.description.splitlines()[0] if spec.description else ""
    return pick(language, english, spec.description_zh or english)
