"""What of a message is worth remembering: what people state, never what they ask, order or chat."""

import re

MAX_NOTE = 2_000
_EXPLICIT = re.compile(
    r"^\W*(?:please\s+|could you\s+|can you\s+)?(?:remember|note|keep in mind|don'?t forget|make a note|memori[sz]e)\b"
    r"(?:\s+(?:that|this|down|of))*[:,\s]\s*(?P<en>.+)$"
    r"|^\W*(?:请|帮我|麻烦)*\s*(?:记住|记得|记下|记一下|备注|别忘了)(?:一下)?[:：,，\s]*(?P<zh>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_ASKS = re.compile(
    r"^\W*(?:who|what|when|where|why|how|which|whose|whom|is|are|was|were|am|do|does|did|can|could|may|might|must"
    r"|shall|should|will|would|have|has|had|any)\b",
    re.IGNORECASE,
)
_ASKS_ZH = re.compile(r"什么|怎么|怎样|如何|为何|哪|谁|几[点个天]|多少|吗|呢|是不是|有没有|能不能|可不可以")
_ORDERS = re.compile(
    r"^\W*(?:please\s+)?(?:explain|tell|write|give|show|name|list|translate|recommend|describe|make|create|find|check|say"
    r"|compare|summari[sz]e|help|let|define|convert|calculate|compute|draw|suggest|imagine|pretend|ignore|send|run"
    r"|start|stop|read|look|search|forget|repeat|answer|act|print|output|reply)\b",
    re.IGNORECASE,
)
_ORDERS_ZH = re.compile(r"^\W*(?:请|帮我|给我|告诉我|麻烦|写|讲|说|翻译|解释|列出|推荐|查|运行|执行|生成|总结)")
_SUBJECT = re.compile(
    r"^\W*(?:(?:i|we|he|she|it|they|my|our|his|her|its|their|the|this|that|these|those|there|every|each|all|no)\b"
    r"|[A-Z][\w'-]*(?:\s+[\w'-]+){0,4}?\s+(?:is|are|was|were|has|have|had|runs?|lives?|works?|likes?|needs?|uses?)\b)"
)
_SUBJECT_FOLDED = re.compile(
    r"^\W*(?:i|i'm|we|we're|he|she|it|they|my|our|his|her|its|their|the|this|that|these|those|there|every|each|all)\b",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"\b(?:is|are|was|were|am|has|have|had|will|must|can|may|should|live|lives|work|works|run|runs|like|likes|love"
    r"|need|needs|use|uses|prefer|prefers|own|owns|start|starts|end|ends|open|opens|close|closes|moved?|began|named"
    r"|called|means)\b|'(?:m|s|re|ve|ll)\b",
    re.IGNORECASE,
)
_STATES_ZH = re.compile(r"是|叫|在|有|住|喜欢|负责|属于|位于|来自|开始|结束|需要|使用|用的|改为|改成|不能|必须")
_CHATTER = re.compile(
    r"^\W*(?:(?:i|we)(?:'m| am| are|'re)\s+(?:fine|ok(?:ay)?|good|well|sorry|glad|happy|done|back|here|bored"
    r"|tired|hungry|thirsty|sad|busy|confused|lost)\b.*"
    r"|(?:that|this|it)(?:'s| is| was)\s+(?:all|fine|ok(?:ay)?|good|great|nice|cool|right|wrong|funny|it)\b.*"
    r"|i (?:see|agree|understand|know|think so|guess)\b.*|i (?:have|had) (?:a|one|another|some) questions?\b.*"
    r"|i (?:want|would like|'d like|need)\b.*|thank.*)$",
    re.IGNORECASE | re.DOTALL,
)


def told_to_remember(text: str) -> str | None:
    """Return what the message asks to remember, in its own words, or None."""
    found = _EXPLICIT.match(text.strip())
    said = (found["en"] or found["zh"] or "").strip() if found else ""
    # "Remember when we met?", "记得我的名字吗" and the like ask.
    return None if len(said) < 3 or _ASKS.match(said) or _ASKS_ZH.search(said) else said[:MAX_NOTE]


def statement(text: str) -> str | None:
    """Return the message if it states something that may matter later, or None."""
    said = text.strip()
    if (explicit := told_to_remember(said)) is not None:
        return explicit
    if not 4 <= len(said) <= MAX_NOTE or said.startswith(("/", "／")) or _is_question(said):
        return None
    if any(pattern.match(said) for pattern in (_CHATTER, _ORDERS, _ORDERS_ZH)):
        return None
    states = (_SUBJECT.match(said) or _SUBJECT_FOLDED.match(said)) and _STATES.search(said)
    return said if states or _STATES_ZH.search(said) else None


def _is_question(text: str) -> bool:
    last = text.rstrip("\"'”’)） \n")[-1:]
    return last in {"?", "？"} or bool(_ASKS.match(text)) or bool(_ASKS_ZH.search(text))
