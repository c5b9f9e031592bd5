"""What a schema wants, in words of the asker's language: for help, questions and error messages."""

from typing import cast

from orchestration.commands.chinese_time import NO_DAY, NO_TIME
from orchestration.commands.language import Language, pick
from orchestration.commands.moments import UNCLEAR
from orchestration.commands.values import Schema, without_null


def expected(schema: Schema, language: Language) -> str:
    """Say in words what a value must be."""
    schema = without_null(schema)
    if "enum" in schema or "const" in schema:
        options = cast("list[object]", schema.get("enum") or [schema.get("const")])
        shown = ", ".join(str(option) for option in options[:20])
        return pick(language, f"one of: {shown}", f"以下之一：{shown}")
    if schema.get("type") == "array":
        inner = expected(cast("Schema", schema.get("items", {})), language)
        size = _size(schema, "minItems", "maxItems", language)
        return pick(language, f"a list, separated by commas{size}, of {inner}", f"逗号分隔的列表{size}，每项为{inner}")
    if "anyOf" in schema:
        choices = cast("list[Schema]", schema["anyOf"])
        return pick(language, " or ", "或").join(expected(choice, language) for choice in choices)
    kind = str(schema.get("format") if schema.get("format") in _KINDS else schema.get("type"))
    english, chinese = _KINDS.get(kind, ("any value", "任意值"))
    return pick(language, english, chinese) + _limits(schema, language)


def because(why: str, language: Language) -> str:
    """Say why a value could not be read, behind a colon; nothing where that is no more than what was expected."""
    chinese = _REASONS.get(why)
    return "" if chinese is None else pick(language, f": {why}", f"：{chinese}")


_REASONS = {
    NO_DAY: "没有这一天",
    NO_TIME: "没有这个时间",
    UNCLEAR: "日和月可能混淆，请写成 2026-12-01",
}
_KINDS = {
    "boolean": ("yes or no", "是或否"),
    "integer": ("a whole number", "整数"),
    "number": ("a number", "数字"),
    "object": ('a JSON object like {"key": "value"}', 'JSON 对象，例如 {"key": "value"}'),
    "string": ("text", "文字"),
    "date": ("a day such as 2026-12-01, tomorrow, next friday", "日期，例如 2026-12-01、明天、下周五"),
    "date-time": (
        "a day and time such as 2026-12-01 09:30, tomorrow 9am",
        "日期和时间，例如 2026-12-01 09:30、明天上午九点",
    ),
    "duration": ("a length of time such as 90s, 1h30m, 2 days", "时长，例如 90秒、1小时30分钟、3天"),
    "decimal": ("an exact number such as 12.50", "精确数字，例如 12.50"),
    "principal": ("a person: me, a mention, or CHANNEL:ACCOUNT", "人员：我、@某人，或 渠道:账号"),
    "file": ("a file sent with the message, by its name", "随消息发送的文件（文件名）"),
    "password": ("a secret text", "保密文字"),
}


def _limits(schema: Schema, language: Language) -> str:
    return _bounds(schema, language) + _size(schema, "minLength", "maxLength", language) + _pattern(schema)


def _bounds(schema: Schema, language: Language) -> str:
    words: list[str] = []
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    if "minimum" in schema and "maximum" in schema:
        low, high = schema["minimum"], schema["maximum"]
        words.append(pick(language, f"from {low} to {high}", f"{low} 到 {high}"))
    else:
        words.extend(f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema)
    if "multipleOf" in schema:
        words.append(pick(language, f"a multiple of {schema['multipleOf']}", f"{schema['multipleOf']} 的倍数"))
    return f" ({', '.join(words)})" if words else ""


def _size(schema: Schema, least: str, most: str, language: Language) -> str:
    words: list[str] = []
    if schema.get(least, 0) not in {0, 1}:  # one goes without saying: what is empty is no value
        words.append(pick(language, f"at least {schema[least]}", f"至少 {schema[least]}"))
    if most in schema:
        words.append(pick(language, f"at most {schema[most]}", f"至多 {schema[most]}"))
    unit = pick(language, " characters", " 个字符") if least == "minLength" else ""
    return f" ({', '.join(words)}{unit})" if words else ""


def _pattern(schema: Schema) -> str:
    return f" /{schema['pattern']}/" if "pattern" in schema else ""
