"""Help, usage and explanations of commands, in the asker's language. Markdown."""

import json
import unicodedata
from collections.abc import Sequence
from typing import cast

from integrations.security.secrets import DOTS
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.language import Language, language_of, pick
from orchestration.commands.problems import Problem
from orchestration.commands.spec import Argument, CommandSpec
from orchestration.commands.values import without_null
from orchestration.commands.vocabulary import CONTROLS
from orchestration.commands.wording import expected

LINE = 80


def overview(catalogue: Catalogue, language: Language) -> str:
    """List all visible commands in one line each, then the control commands."""
    typed = [_line(spec, language) for spec in catalogue.visible]
    none = pick(language, "_No workflows yet: see examples/README.md._", "_还没有工作流：见 examples/README.md。_")
    return "\n".join(
        [
            pick(language, "**Workflows**", "**工作流**"),
            *(typed or [none]),
            "",
            pick(language, "**Always**", "**随时可用**"),
            *(_line(spec, language) for spec in CONTROLS),
            "",
            pick(
                language,
                "`/help NAME` shows the arguments. Or just say in a sentence what you want.",
                "`/帮助 名称` 查看参数。也可以直接用一句话说出你的需求。",
            ),
        ]
    )


def details(spec: CommandSpec, language: Language) -> str:
    """Tell all about one command: how it is written, each argument, aliases and examples."""
    parts = [f"**{usage(spec)}**"]
    if description := _description(spec, language):
        parts.append(description)
    if spec.arguments:
        parts.append("\n".join(_argument(argument, spec, language) for argument in spec.positional))
    if spec.aliases:
        words = ", ".join(f"`/{alias}`" for alias in spec.aliases)
        parts.append(pick(language, f"Also: {words}", f"别名：{words}"))
    if spec.examples:
        # Those in the asker's language first.
        ordered = sorted(spec.examples, key=lambda example: language_of(example) != language)
        said = "\n".join(f"- {example}" for example in ordered[:6])
        parts.append(pick(language, f"Or say:\n{said}", f"也可以这样说：\n{said}"))
    if spec.location:
        parts.append(
            pick(language, f"Job `{spec.job}` in `{spec.location}`.", f"任务 `{spec.job}`，位于 `{spec.location}`。")
        )
    return "\n\n".join(parts)


def usage(spec: CommandSpec) -> str:
    """Return how the command is written: `/greet NAME… [times=1]`."""
    return " ".join([f"/{spec.name}", *(_usage(argument, spec) for argument in spec.positional)])


def explain(text: str, problems: Sequence[Problem], spec: CommandSpec | None, language: Language) -> str:
    """Say what is wrong with a command and how it is written, pointing at the first wrong word."""
    lines = [f"⚠️ {problems[0].message}"]
    if pointer := point_at(text, problems[0]):
        lines.append(f"```\n{pointer}\n```")
    lines.extend(f"⚠️ {problem.message}" for problem in problems[1:])
    if spec is not None:
        how = pick(language, "It is written", "写法")
        lines.append(f"{how}: `{usage(spec)}` · `/help {spec.name}`")
    else:
        lines.append(pick(language, "`/help` lists all commands.", "`/帮助` 列出所有命令。"))
    return "\n\n".join(lines)


def point_at(text: str, problem: Problem) -> str:
    """Return the line of the text with carets under the wrong word; empty where there is none to show."""
    if problem.end <= problem.start or problem.end > len(text) or problem.word == DOTS:
        return ""
    begin = text.rfind("\n", 0, problem.start) + 1
    begin = max(begin, problem.start - LINE // 2)
    stop = text.find("\n", problem.start)
    line = text[begin : min(len(text) if stop < 0 else stop, begin + LINE)]
    before = _width(line[: problem.start - begin])
    marked = max(1, _width(line[problem.start - begin : problem.end - begin]))
    return f"{line}\n{' ' * before}{'^' * marked}"


def command_line(spec: CommandSpec, args: dict[str, object]) -> str:
    """Return the command with exactly these arguments, as it could be typed; secrets are dots."""
    words = [f"/{spec.name}"]
    for argument in spec.arguments:
        if argument.name in args:
            value = DOTS if argument.secret else _typed(args[argument.name])
            words.append(f"{argument.name}={value}")
    return " ".join(words)


def visible(text: str) -> str:
    """Write a text in one line in which nothing can hide: no line ends, no backquotes, no invisible characters."""
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text).replace("`", "\\u0060")


def _typed(value: object) -> str:
    if isinstance(value, str):
        plain = value and not any(c.isspace() or c in "\"'“”‘’「」『』,，、；[=\\" for c in value)
        return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in cast("list[object]", value)):
        return ",".join(_typed(item) for item in cast("list[object]", value))
    text = json.dumps(value, ensure_ascii=False)
    return f"'{text}'" if " " in text else text


def _line(spec: CommandSpec, language: Language) -> str:
    chinese = next((alias for alias in spec.aliases if language_of(alias) == "zh"), None)
    name = f"`/{chinese}` (`/{spec.name}`)" if language == "zh" and chinese else f"`/{spec.name}`"
    description = _description(spec, language).split("\n")[0]
    return f"- {name} — {description}" if description else f"- {name}"


def _description(spec: CommandSpec, language: Language) -> str:
    return spec.description_zh if language == "zh" and spec.description_zh else spec.description


def _usage(argument: Argument, spec: CommandSpec) -> str:
    if not argument.required:
        default = argument.json_schema.get("default")
        shown = "…" if default is None or argument.secret or default in ("", [], {}) else _typed(default)
        return f"[{argument.name}={shown}]"
    return f"{argument.name.upper()}{'…' if argument.name == spec.rest or argument.kind == 'array' else ''}"


def _argument(argument: Argument, spec: CommandSpec, language: Language) -> str:
    notes = [expected(argument.json_schema, language)]
    if argument.required:
        notes.append(pick(language, "required", "必填"))
    elif not argument.secret and (default := without_null(argument.json_schema).get("default")) is not None:
        notes.append(pick(language, f"default {_typed(default)}", f"默认 {_typed(default)}"))
    if argument.name == spec.rest:
        notes.append(pick(language, "takes the rest of the line", "可占用行内其余文字"))
    what = argument.described(language)
    return f"- `{argument.name}`{f' {what}' if what else ''} ({'; '.join(notes)})"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
