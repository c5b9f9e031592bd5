"""Action `http_request`: one HTTP call to a public address, or to what the operator allows."""

import codecs
import json
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from integrations.calling import Address, Called, call
from integrations.errors import Forbidden, InvalidInput, NotFound
from integrations.security.reach import Reach
from integrations.security.secrets import resolve
from integrations.settings import Settings
from orchestration.actions import FIXED, IN_URL, Arguments, Effect, Means, Occasion, Outcome

SHOWN = 4_000
"""Characters of the answer that stand in the text; `data` has all."""
_HIDDEN = ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key")
_OURS = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")


class Request(Arguments):
    """What to call."""

    url: str = Field(json_schema_extra=IN_URL)
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = Field(
        default="GET", json_schema_extra=FIXED
    )
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    json_body: dict[str, object] | list[object] | None = Field(default=None, description="Sent as JSON.")
    body: str | None = Field(default=None, description="Sent as it is.")
    credential: str | None = Field(
        default=None, description="A name from [actions.credentials].", json_schema_extra=FIXED
    )


class HttpRequest:
    """Calls; GET, HEAD and OPTIONS read, DELETE destroys, the others write."""

    name = "http_request"
    summary = "Call an HTTP address and return its answer."
    arguments = Request

    def effect(self, args: Request, settings: Settings) -> Effect:  # noqa: ARG002 - the protocol's
        """Tell by the method."""
        if args.method in ("GET", "HEAD", "OPTIONS"):
            return "read"
        return "destructive" if args.method == "DELETE" else "write"

    def preview(self, args: Request, settings: Settings) -> str:
        """Say which address; its query and the bodies may hold anything, so only their size is told."""
        address = Address.of(args.url)
        _reach(settings).foresee(address.host, address.port)
        headers = _headers(args)
        if args.credential is not None:
            _credential(args.credential, address, settings)
        body = _body(args)
        parts = urlsplit(args.url)
        shown = urlunsplit((parts.scheme, parts.netloc, parts.path, "…" if parts.query else "", ""))
        what = f" with {len(body)} bytes" if body else ""
        whose = f" as {args.credential}" if args.credential else ""
        more = f" (headers: {', '.join(headers)})" if args.headers else ""
        return f"would {args.method} {shown}{what}{whose}{more}"

    def carry_out(self, args: Request, means: Means, occasion: Occasion) -> Outcome:
        """Call. Raises what `integrations.calling` raises."""
        settings = means.settings
        address = Address.of(args.url)
        headers = _headers(args)
        if args.method not in ("GET", "HEAD", "OPTIONS"):
            headers.setdefault("Idempotency-Key", occasion.key)
        secret = ""
        if args.credential is not None:
            name, secret = _credential(args.credential, address, settings)
            headers[name] = secret
        called = call(
            args.method,
            args.url,
            headers=headers,
            body=_body(args),
            reach=_reach(settings),
            timeout_s=settings.actions.http.timeout_s,
            max_bytes=settings.actions.http.max_bytes,
        )
        return _outcome(args, called, secret)


def _reach(settings: Settings) -> Reach:
    http = settings.actions.http
    return Reach(tuple(http.hosts), tuple(http.private))


def _headers(args: Request) -> dict[str, str]:
    """Return the headers to send; raise `InvalidInput` for one that could begin another, or is ours to set."""
    headers = {"User-Agent": "Runbell", "Accept": "*/*"}
    for name, value in args.headers.items():
        token = name.replace("-", "").replace("_", "")
        if not (token.isascii() and token.isalnum()) or name.lower() in _OURS:
            raise InvalidInput(f"{name[:100]!r} is no header that may be set.", field="headers")
        if not value.isascii() or not value.isprintable():
            raise InvalidInput(f"The header {name} holds more than printable ASCII.", field="headers")
        headers[name] = value
    if args.json_body is not None:
        headers.setdefault("Content-Type", "application/json")
    return headers


def _body(args: Request) -> bytes:
    if args.json_body is not None and args.body is not None:
        raise InvalidInput("Give json_body or body, not both.", field="body")
    if args.json_body is not None:
        return json.dumps(args.json_body, ensure_ascii=False).encode()
    return (args.body or "").encode("utf-8", "replace")


def _credential(name: str, address: Address, settings: Settings) -> tuple[str, str]:
    """Return the header of a credential, for its own hosts only."""
    credential = settings.actions.credentials.get(name)
    if credential is None:
        raise NotFound(f"There is no credential {name!r} (setting actions.credentials).")
    try:
        Reach(tuple(credential.hosts)).check(address.host, address.port)
    except Forbidden:
        raise Forbidden(f"The credential {name} is not for {address.host} (setting actions.credentials).") from None
    if (
        urlsplit(address.url).scheme != "https"
        and f"{address.host}:{address.port}" not in settings.actions.http.private
    ):
        raise Forbidden(f"The credential {name} goes over https only.")
    secret = resolve(credential.value, name=f"actions.credentials.{name}.value").get_secret_value()
    return credential.header, credential.prefix + secret


def _outcome(args: Request, called: Called, secret: str) -> Outcome:
    text = called.body.decode(_charset(called), "replace")
    if secret:
        # An address that echoes what it gets must not lead the secret into logs and chats.
        for word in (secret, secret.rsplit(maxsplit=1)[-1]):
            text = text.replace(word, "…")
    shown = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    headers = {name: "…" if name in _HIDDEN else value for name, value in called.headers.items()}
    data = {"status": called.status, "url": called.url, "headers": headers, "body": text}
    return Outcome(text=f"{args.method} {called.url}: {called.status}\n{shown}".rstrip(), data=data)


def _charset(called: Called) -> str:
    charset = called.headers.get("content-type", "").partition("charset=")[2].split(";")[0].strip(" \"'")
    try:
        return codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"


ACTION = HttpRequest()
