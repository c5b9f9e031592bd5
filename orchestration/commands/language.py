"""Which language to answer in: the asker's own, judged by the characters they typed."""

import re
from typing import Literal

Language = Literal["en", "zh"]

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def language_of(text: str) -> Language:
    """Return `zh` where the text has a Chinese character near its start, else `en`."""
    return "zh" if _HAN.search(text[:2000]) else "en"


def pick(language: Language, english: str, chinese: str) -> str:
    """Return the wording in the asker's language; both stand side by side where they are used."""
    return chinese if language == "zh" else english
