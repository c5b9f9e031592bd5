"""Which mails no answer may follow: machines', lists', our own. Pure but for the window that `Loops` keeps.

RFC 3834 (automatic responses), RFC 2919 (lists), RFC 3464 (bounces); X-Auto-Response-Suppress is Exchange's
(learn.microsoft.com, MS-OXCMAIL 2.1.3.2.20), Precedence and X-Loop are old custom.
"""

import re
from collections import OrderedDict, deque
from collections.abc import Mapping

MAX_HOPS = 50
LOOP_COUNT, LOOP_SECONDS, REMEMBERED = 30, 600.0, 5000
_MACHINES = re.compile(r"(mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?)([+-].*)?@.*")
Headers = Mapping[str, tuple[str, ...]]


def ignored(headers: Headers, sender: str, own: str) -> str:
    """Return why a mail is not answered; blank where it is."""
    suppressed = set(re.split(r"[,\s]+", _first(headers, "x-auto-response-suppress")))
    returned = _first(headers, "return-path", "?") in {"<>", ""}
    report = _first(headers, "content-type").startswith("multipart/report")
    rules = (
        (sender == own.lower() or own.lower() in _first(headers, "x-loop"), "it is our own"),
        (_first(headers, "auto-submitted", "no").partition(";")[0].strip() != "no", "a machine sent it"),
        (_first(headers, "precedence") in {"bulk", "junk", "list", "auto_reply"}, "it was sent in bulk"),
        (bool({"all", "autoreply"} & suppressed), "it wants no automatic answer"),
        (any(name in headers for name in ("list-id", "list-post", "list-unsubscribe")), "it came over a list"),
        (returned or report, "it is a bounce or a receipt"),
        (bool(_MACHINES.fullmatch(sender)), "its sender is a machine"),
        (len(headers.get("received", ())) > MAX_HOPS, "it goes in circles"),
    )
    return next((why for holds, why in rules if holds), "")


class Loops:
    """Counts mails per sender: more than 30 within ten minutes come from a machine that does not say so."""

    def __init__(self) -> None:
        self._arrived: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()

    def many(self, sender: str, at: float, number: str) -> bool:
        """Count the mail of this id that arrived at this second, and say whether it is one too many.

        A mail that lies there still, since it could not be stored, is counted once.
        """
        mails = self._arrived.setdefault(sender, deque(maxlen=LOOP_COUNT))
        self._arrived.move_to_end(sender)
        while len(self._arrived) > REMEMBERED:
            self._arrived.popitem(last=False)
        if any(number == counted for _, counted in mails):
            return False
        if len(mails) == LOOP_COUNT and 0 <= at - mails[0][0] < LOOP_SECONDS:
            return True
        mails.append((at, number))
        return False


def _first(headers: Headers, name: str, default: str = "") -> str:
    return headers.get(name, (default,))[0].strip().lower()
