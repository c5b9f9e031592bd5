"""What becomes of a message on a network that can't show all of it; the rules for all channels, in one place.

can't show            instead
cards                 the message's text, or the card written as text
forms                 the questions as text, and the command to send with what is missing
buttons, or so many   numbered choices; the number, or what is behind it, can be typed (`chosen`)
                      (optional ones are left out, also where they would change a message that can't be edited)
buttons that lead     a line with the link
pictures              a file
files, or so large    the file's name and size as a line
Markdown              the text without its marks
edits                 a new message (`outbound`)
long texts            several messages (`split`); buttons, card and files are on the last one
"""

import re
from collections.abc import Sequence

from integrations.channels.capabilities import Capabilities
from integrations.channels.split import split
from integrations.messages import Attachment, Card, Choice, Form, OutboundMessage

STATES = {
    "waiting": "⏳",
    "running": "▶️",
    "succeeded": "✅",
    "failed": "❌",
    "skipped": "⏭️",
    "neutral": "",
}
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_NUMBER = re.compile(r"[#＃(（]?\s*([0-9０-９]{1,2})\s*[.)）。．]?")
_FENCED = re.compile(r"^(?:```|~~~).*$\n?", re.MULTILINE)
_MARKS = (
    (re.compile(r"!?\[([^\]\n]+)\]\((\S+?)\)"), r"\1 (\2)"),
    (re.compile(r"^#{1,6} +", re.MULTILINE), ""),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"`([^`\n]+)`"), r"\1"),
)


def fit(message: OutboundMessage, can: Capabilities) -> list[OutboundMessage]:
    """Return what to send instead: one message or several, in order, each of which the channel can show."""
    text, changes = message.text, dict[str, object]()
    if message.card is not None and not can.cards:
        text, changes["card"] = text or card_text(message.card), None
    if message.form is not None and not can.forms:
        text, changes["form"] = form_text(message.form, text), None
    text, choices = _choices(message.choices, text, can)
    changes["choices"] = choices
    kept, told = _files(message.attachments, can)
    if told:
        text, changes["attachments"] = "\n".join(filter(None, [text, *told])), kept
    if not can.markdown:
        text = plain(text)
    return _several(message.model_copy(update=changes), split(text, can.max_text, can.size))


def chosen(text: str, choices: Sequence[Choice]) -> str | None:
    """Return what a typed answer chooses: by number, or by a label as it is shown; None where it chooses nothing."""
    choices = [choice for choice in choices if not (choice.optional or choice.url)]
    said = text.strip()
    number = _NUMBER.fullmatch(said)
    if number and 1 <= int(number[1]) <= len(choices):
        return choices[int(number[1]) - 1].text
    fitting = [choice.text for choice in choices if choice.label.strip().casefold() == said.casefold()]
    return fitting[0] if len(fitting) == 1 else None


def choices_text(choices: Sequence[Choice], context: str = "") -> str:
    """Write choices as a numbered list."""
    lines = [
        f"{number}. {choice.label}" + (f" (`{choice.text}`)" if choice.text != choice.label else "")
        for number, choice in enumerate(choices, 1)
    ]
    return "\n".join([*lines, _say(context or lines[0], "Reply with a number.", "请回复编号。")])


def card_text(card: Card) -> str:
    """Write a card as Markdown."""
    lines = [f"{STATES[card.state]} **{card.title}**".strip()]
    lines += [card.text] if card.text else []
    lines += [f"{field.name}: {field.value}" for field in card.fields]
    lines += [
        f"{STATES[step.state]} {step.name}" + (f" · {step.ms / 1000:.1f} s" if step.ms is not None else "")
        for step in card.steps
    ]
    lines += [card.url] if card.url else []
    return "\n".join(lines)


def form_text(form: Form, text: str = "") -> str:
    """Write a form as questions, and the command that answers them all."""
    lines = [text or f"**{form.title}**"]
    for question in form.questions:
        options = " / ".join(option.label for option in question.options)
        detail = ", ".join(filter(None, [question.hint, options]))
        lines.append(f"- {question.label} (`{question.name}`)" + (f": {detail}" if detail else ""))
    known = "".join(f" {name}={_quoted(value)}" for name, value in form.args.items())
    missing = "".join(f" {question.name}=…" for question in form.questions if question.required)
    lines.append(_say("\n".join(lines), "Send it like this:", "请这样发送：") + f" `/{form.command}{known}{missing}`")
    return "\n".join(lines)


def plain(text: str) -> str:
    """Return Markdown without its marks; what the marks enclose stays."""
    text = _FENCED.sub("", text)
    for pattern, replacement in _MARKS:
        text = pattern.sub(replacement, text)
    return text


def size_text(size: int) -> str:
    """Write a number of bytes as people do."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.0f} KB" if size < 1024 * 1024 else f"{size / 1024 / 1024:.1f} MB"


def _choices(choices: tuple[Choice, ...], text: str, can: Capabilities) -> tuple[str, tuple[Choice, ...]]:
    """Return the text with what can't be a button, and what can."""
    led = [] if can.links else [choice for choice in choices if choice.url]
    if led:
        text = "\n\n".join([*filter(None, [text]), " · ".join(f"[{one.label}]({one.url})" for one in led)])
        choices = tuple(choice for choice in choices if not choice.url)
    if not can.edit or not _offers(can, choices):
        choices = tuple(choice for choice in choices if not choice.optional)
    if choices and not _offers(can, choices):
        return f"{text}\n\n{choices_text(choices, text)}".strip(), ()
    return text, choices


def _offers(can: Capabilities, choices: Sequence[Choice]) -> bool:
    return can.buttons if isinstance(can.buttons, bool) else len(choices) <= can.buttons


def _files(attachments: Sequence[Attachment], can: Capabilities) -> tuple[tuple[Attachment, ...], list[str]]:
    """Return the files that can be sent, and lines for those that can't."""
    kept = tuple(
        file
        for file in attachments
        if file.size <= can.max_file and (can.files or (can.pictures and file.media_type.startswith("image/")))
    )
    return kept, [f"📎 {file.name} ({size_text(file.size)})" for file in attachments if file not in kept]


def _several(message: OutboundMessage, texts: Sequence[str]) -> list[OutboundMessage]:
    bare = {"choices": (), "card": None, "form": None, "attachments": ()}
    found: list[OutboundMessage] = []
    for index, text in enumerate(texts):
        changes: dict[str, object] = {"text": text}
        if index < len(texts) - 1:
            changes |= bare
        if index > 0:
            changes["replaces"] = None
        if message.key and len(texts) > 1:
            changes["key"] = f"{message.key}/{index}"
        found.append(message.model_copy(update=changes))
    return found


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if re.search(r"\s", text) else text


def _say(context: str, english: str, chinese: str) -> str:
    return chinese if _CHINESE.search(context) else english
