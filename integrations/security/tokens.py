"""The bearer token in RUNBELL_HOME/token, and what is derived from it: one-time links and page sessions.

A session is a signed instant, so every gateway process can check it without asking another. A link's key is
a file in RUNBELL_HOME/run/links: whoever removes it has used it, so it works once for all gateways together.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from integrations.errors import Misconfigured, Unauthorized

FILE = "token"
LINK_SECONDS = 600
SESSION_SECONDS = 7 * 24 * 3600
MIN_LENGTH = 16
MAX_OPEN_LINKS = 1000


def create_token(home: Path) -> Path:
    """Make RUNBELL_HOME/token with mode 0600 unless it is there; return its path. Safe in races."""
    return create_secret(home, FILE, secrets.token_urlsafe(32))


def create_secret(home: Path, name: str, value: str) -> Path:
    """Keep a value in a file of mode 0600 unless the file is there; return its path. Safe in races."""
    path = home / name
    home.mkdir(parents=True, exist_ok=True)
    draft = home / f".{name}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(value + "\n")
    try:
        # A link appears whole or not at all, and never replaces a secret that people already use.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return path


def read_token(home: Path) -> str:
    """Return the token; raise Misconfigured where the file is missing, blank, short or open to others."""
    path = home / FILE
    try:
        token = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"The bearer token {path} can't be read ({type(error).__name__}): `runbell up` makes one."
        ) from error
    if len(token) < MIN_LENGTH:
        raise Misconfigured(
            f"The bearer token {path} is blank or shorter than {MIN_LENGTH} characters: "
            "remove the file and run `runbell up`."
        )
    if mode & 0o007:
        raise Misconfigured(f"The bearer token {path} can be read by other users: chmod 600 {path}")
    return token


class Keys:
    """Checks tokens and sessions, makes and redeems one-time links; `now` returns Unix seconds."""

    def __init__(self, home: Path, now: Callable[[], float]) -> None:
        self._token = read_token(home).encode()
        self._session_key = hmac.digest(self._token, b"runbell page session v1", "sha256")
        self._links = home / "run" / "links"
        self._now = now

    def __repr__(self) -> str:
        return "Keys(…)"

    def is_token(self, presented: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self._token, presented.encode("utf-8", "replace"))

    def new_link_key(self) -> str:
        """Return a key that opens one session within ten minutes."""
        self._links.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sweep()
        key = secrets.token_urlsafe(32)
        self._link(key).touch(mode=0o600, exist_ok=False)
        return key

    def redeem_link(self, key: str) -> str:
        """Use up a link's key, return a new session; raise Unauthorized where it is unknown, used or old."""
        path = self._link(key)
        try:
            age = self._now() - path.stat().st_mtime
            path.unlink()  # Only one caller succeeds.
        except FileNotFoundError as error:
            raise Unauthorized(
                "This link was used already, or never existed: `runbell open` makes a new one."
            ) from error
        if age > LINK_SECONDS:
            raise Unauthorized("This link is older than ten minutes: `runbell open` makes a new one.")
        return self.new_session()

    def new_session(self) -> str:
        """Return a cookie value that is valid for a week."""
        content = f"{int(self._now()) + SESSION_SECONDS}.{secrets.token_hex(8)}"
        return f"{content}.{self._signature(content)}"

    def is_session(self, presented: str) -> bool:
        """Tell whether we made this session and it has not expired."""
        content, _, signature = presented.rpartition(".")
        if not hmac.compare_digest(self._signature(content).encode(), signature.encode("utf-8", "replace")):
            return False
        return int(content.partition(".")[0]) > self._now()

    def _signature(self, content: str) -> str:
        return hmac.digest(self._session_key, content.encode("utf-8", "replace"), "sha256").hex()

    def _link(self, key: str) -> Path:
        return self._links / hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()

    def _sweep(self) -> None:
        """Remove links that expired, and the oldest when too many are open."""
        files: list[tuple[float, Path]] = []
        for path in self._links.iterdir():
            with suppress(FileNotFoundError):
                files.append((path.stat().st_mtime, path))
        files.sort()
        surplus = max(0, len(files) - MAX_OPEN_LINKS + 1)
        for index, (modified_at, path) in enumerate(files):
            if index < surplus or self._now() - modified_at > LINK_SECONDS:
                path.unlink(missing_ok=True)
