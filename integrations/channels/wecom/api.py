"""WeCom's server API: the access token, calls with it, files; error codes in our words.

One token is valid per secret and lasts two hours; asking for it too often is itself limited
(developer.work.weixin.qq.com/document/path/91039), so it is kept, and renewed once where a call says it has ended.
"""

import time
from collections.abc import Callable
from typing import Any

from integrations.channels import http
from integrations.channels.tokens import Token
from integrations.errors import Misconfigured, RateLimited, Rejected, RunbellError, Unavailable

EARLY_SECONDS = 300.0
PAUSE_SECONDS = 60.0
ENDED_TOKEN = frozenset({40014, 42001, 42007, 42009})
BUSY = frozenset({-1, 6000})
LIMITED = frozenset({45009, 45011, 45033})
WRONG_SETTING = {
    40001: "corp_secret is wrong, or belongs to another app.",
    40013: "corp_id is wrong: copy it from My company in the admin console.",
    40056: "agent_id is wrong: copy it from the app's page.",
    40091: "corp_secret is wrong: copy it from the app's page.",
    48002: "The app may not call this API: use the secret of a self-built app.",
    60011: "The app may not reach this member: add them to the app's visible range.",
    60020: "This machine's address is not trusted: add it to the app's trusted IP list in the admin console.",
    301002: "agent_id does not belong to corp_secret: copy both from the same app's page.",
}
MAX_MEDIA = 20 * 1024 * 1024


class Api:
    """Calls as one app of one corp."""

    def __init__(self, base: str, corp_id: str, secret: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._base = base.rstrip("/")
        self._corp_id = corp_id
        self._secret = secret
        self._http = http.client()
        self._token = Token(self._login, early_s=EARLY_SECONDS, now=now)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call what must not be done twice; raises Lost where nobody can tell, else as `Channel.send` does."""
        return await self._call("POST", path, repeatable=False, json=body)

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        """Ask something."""
        return await self._call("GET", path, repeatable=True, params=params)

    async def upload(self, kind: str, name: str, content: bytes) -> str:
        """Store a file with WeCom for three days; returns its media id."""
        answer = await self._call(
            "POST",
            "/cgi-bin/media/upload",
            repeatable=True,
            params={"type": kind},
            files={"media": (name, content)},
        )
        return str(answer["media_id"])

    async def download(self, media_id: str) -> tuple[bytes, str]:
        """Return what a member sent and its media type. Raises Rejected above 20 MiB or where it is gone."""
        for last in (False, True):
            token = await self._token.get()
            params = {"access_token": token, "media_id": media_id}
            response = await http.call(
                self._http, "GET", f"{self._base}/cgi-bin/media/get", repeatable=True, params=params
            )
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
            if kind not in {"application/json", "text/plain"}:
                break
            if not self._renewable(token, http.json_of(response), last=last):
                check(http.json_of(response))
                break
        if len(response.content) > MAX_MEDIA:
            raise Rejected("The file is larger than 20 MiB.")
        return response.content, kind

    async def _login(self) -> tuple[str, float]:
        params = {"corpid": self._corp_id, "corpsecret": self._secret}
        response = await http.call(self._http, "GET", f"{self._base}/cgi-bin/gettoken", repeatable=True, params=params)
        answer = http.json_of(response)
        check(answer)
        return str(answer["access_token"]), float(answer["expires_in"])

    async def _call(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        **request: Any,  # noqa: ANN401 - as httpx takes them
    ) -> dict[str, Any]:
        params = request.pop("params", {})
        for last in (False, True):
            token = await self._token.get()
            request["params"] = {**params, "access_token": token}
            response = await http.call(self._http, method, self._base + path, repeatable=repeatable, **request)
            answer = http.json_of(response)
            if not self._renewable(token, answer, last=last):
                break
        check(answer)
        return answer

    def _renewable(self, token: str, answer: dict[str, Any], *, last: bool) -> bool:
        """Say whether a call failed for its token only; the token is forgotten then."""
        if last or answer.get("errcode") not in ENDED_TOKEN:
            return False
        self._token.forget(token)
        return True


def check(answer: dict[str, Any]) -> None:
    """Raise what an error code means; an answer without one is no answer of WeCom's."""
    code = answer.get("errcode")
    if code == 0:
        return
    raise _error(code, str(answer.get("errmsg", ""))[:200])


def _error(code: object, text: str) -> RunbellError:
    if not isinstance(code, int):
        return Unavailable("This is no answer of WeCom's: check api_url.", after=30.0)
    if code in BUSY:
        return Unavailable(f"WeCom is busy ({code}).", after=2.0)
    if code in LIMITED:
        return RateLimited(f"WeCom's limit of calls is reached ({code}).", after=PAUSE_SECONDS)
    if code in WRONG_SETTING:
        return Misconfigured(f"WeCom refused ({code}). {WRONG_SETTING[code]}")
    return Rejected(f"WeCom refused ({code}): {text}")
