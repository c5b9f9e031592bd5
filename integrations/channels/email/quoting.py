"""What somebody wrote, without the mail that they answer and without their signature. Pure.

There is no standard for quoting but `>` (RFC 3676) and none for signatures but `-- `; the rest are the habits of
Gmail, Outlook, Apple Mail, Thunderbird, Foxmail and QQ in a few languages. A forwarded mail is what its sender wants
to show, so nothing of it is cut.
"""

import re

_SIGNATURE = re.compile(r"--\s?")
_DEVICE = re.compile(
    r"(sent from my \w+.{0,40}|von meinem \w+ gesendet.{0,20}|envoyé de mon \w+.{0,20}"
    r"|get outlook for \w+.{0,40}|发自我的.{0,20}|從我的.{0,20}傳送)",
    re.IGNORECASE,
)
_ATTRIBUTIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"on\s.{5,300}\swrote:",
        r"am\s.{5,300}\sschrieb(\s.{1,200})?:",
        r"le\s.{5,300}\sa écrit\s?:",
        r"el\s.{5,300}\sescribió:",
        r".{0,200}\d.{0,200}(写道|寫道)\s?[:：]",
        r".{0,200}<\S{3,200}@\S{3,200}>\s?.{0,80}(wrote|写道|寫道|schrieb)?\s?[:：]",
        r"-{2,}\s?(original (message|appointment)|ursprüngliche nachricht|message d'origine|原始[邮郵]件)\s?-{2,}",
        r"_{20,}",
    )
)
_HEAD = re.compile(r"\*?(from|von|de|发件人|寄件者|寄件人)\s?[:：]\*?\s?\S.*", re.IGNORECASE)
_BELOW_HEAD = re.compile(
    r"\*?(sent|date|to|gesendet|datum|an|envoyé|à|发送时间|日期|收件人|傳送時間)\s?[:：]", re.IGNORECASE
)
_FORWARDED = re.compile(r"\s*(fwd?|wg|tr|转发|轉寄)\s?[:：]", re.IGNORECASE)
_TYPED = re.compile(r"/\S.*|[#＃(（]?\s*[0-9０-９]{1,2}\s*[.)）。．]?")


def written(text: str, subject: str) -> str:
    """Return what the sender wrote themselves.

    A command or the number of a choice ends with its line: what follows it after a blank line is a greeting.
    """
    if _FORWARDED.match(subject):
        return _unsigned(text.split("\n"))
    lines = text.split("\n")
    cut = next((index for index in range(len(lines)) if _quotes_from(lines, index)), len(lines))
    own = _unsigned([line for line in lines[:cut] if not line.lstrip().startswith(">")])
    if not own:
        # They answer below the quote, or between its lines.
        own = _unsigned([line for line in lines[cut + 1 :] if not line.lstrip().startswith(">")])
    first, _, rest = own.partition("\n")
    return first.strip() if _TYPED.fullmatch(first.strip()) and (not rest or not rest.split("\n")[0].strip()) else own


def _quotes_from(lines: list[str], index: int) -> bool:
    """Say whether the answered mail begins here; mail programs wrap the line that says so."""
    line = lines[index].strip()
    if not line or line.startswith(">"):
        return False
    if any(_attributes(lines[index : index + count]) for count in (1, 2, 3)):
        # What was written just above must not be taken for the beginning of that line.
        return not any(_attributes([one]) for one in lines[index + 1 : index + 3])
    return bool(_HEAD.fullmatch(line)) and any(_BELOW_HEAD.match(one.strip()) for one in lines[index + 1 : index + 4])


def _attributes(lines: list[str]) -> bool:
    parts = [line.strip() for line in lines]
    joined = " ".join(parts)
    return all(parts) and len(joined) <= 500 and any(pattern.fullmatch(joined) for pattern in _ATTRIBUTIONS)


def _unsigned(lines: list[str]) -> str:
    cut = next((index for index, line in enumerate(lines) if _SIGNATURE.fullmatch(line.rstrip("\r"))), len(lines))
    kept = "\n".join(lines[:cut]).strip().split("\n")
    if len(kept) > 1 and _DEVICE.fullmatch(kept[-1].strip()):
        kept = kept[:-1]
    return "\n".join(kept).strip()
