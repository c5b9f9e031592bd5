"""HTML of e-mails as plain text. Pure, and linear in the text's length whatever its bytes: nothing here backtracks.

Python's own HTMLParser takes quadratic time on some malformed input, so tags are cut out here; all that is wanted of
them is where lines end, where links lead, and what is not meant to be read (styles, hidden text, quoted mails).
"""

import html
import re

MAX_HTML = 500_000
_TAG = re.compile(r"(<[^<>]{1,4000}>)")
_NAME = re.compile(r"</?\s*([a-zA-Z][a-zA-Z0-9]{0,20})")
_HREF = re.compile(r"""href\s{0,5}=\s{0,5}["']?(https?://[^\s"'<>]{1,2000})""", re.IGNORECASE)
_QUOTED = re.compile(r"""(class|id)\s{0,5}=\s{0,5}["']?(gmail_quote|divrplyfwdmsg|appendonsend|mimeattachmentheader)""")
_NEVER = frozenset({"script", "style", "head", "title", "template", "svg", "select", "textarea"})
_VOID = frozenset({"br", "hr", "img", "input", "meta", "link", "col", "wbr", "area", "base", "source"})
_BREAKS = frozenset({"br", "tr", "li", "div", "hr", "dt", "dd", "ul", "ol", "section"})
_GAPS = frozenset({"p", "table", "h1", "h2", "h3", "h4", "h5", "h6", "pre"})


def to_text(markup: str, *, quotes: bool = False) -> str:
    """Return what a person reads; quoted mails only if asked for, or if there is nothing else."""
    text = _Reader(quotes=quotes).read(_without_comments(markup[:MAX_HTML]))
    return text if text or quotes else to_text(markup, quotes=True)


class _Reader:
    """Goes through tags and texts once."""

    def __init__(self, *, quotes: bool) -> None:
        self._quotes = quotes
        self._pieces: list[str] = []
        self._skipped = ""
        self._depth = 0
        self._link = ""

    def read(self, markup: str) -> str:
        for index, token in enumerate(_TAG.split(markup)):
            if index % 2:
                self._tag(token)
            elif not self._depth:
                self._pieces.append(re.sub(r"\s+", " ", html.unescape(token)))
        lines = [re.sub(r" {2,}", " ", line).strip() for line in "".join(self._pieces).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

    def _tag(self, token: str) -> None:
        match = _NAME.match(token)
        if match is None:
            return
        name, closes = match[1].lower(), token.startswith("</")
        if self._depth:
            if name == self._skipped:
                self._depth += -1 if closes else 1
        elif not closes and name not in _VOID and self._unread(name, token.lower()):
            self._skipped, self._depth = name, 1
        else:
            self._shown(name, token, closes=closes)

    def _unread(self, name: str, tag: str) -> bool:
        if name in _NEVER or "display:none" in tag.replace(" ", ""):
            return True
        return not self._quotes and (name == "blockquote" or bool(_QUOTED.search(tag)))

    def _shown(self, name: str, token: str, *, closes: bool) -> None:
        if name == "a":
            self._anchor(token, closes=closes)
        elif name in _GAPS:
            self._pieces.append("\n\n")
        elif name in _BREAKS:
            self._pieces.append("\n- " if name == "li" and not closes else "\n" if name != "li" else "")
        elif name in ("td", "th"):
            self._pieces.append(" ")

    def _anchor(self, token: str, *, closes: bool) -> None:
        if not closes:
            found = _HREF.search(token)
            self._link = html.unescape(found[1]) if found else ""
        elif self._link:
            if self._link.rstrip("/") not in "".join(self._pieces[-2:]):
                self._pieces.append(f" ({self._link})")
            self._link = ""


def _without_comments(markup: str) -> str:
    pieces, at = list[str](), 0
    while (begin := markup.find("<!--", at)) >= 0:
        pieces.append(markup[at:begin])
        end = markup.find("-->", begin)
        if end < 0:
            return "".join(pieces)
        at = end + 3
    return "".join([*pieces, markup[at:]])
