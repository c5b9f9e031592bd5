"""How the simulated Slack signs, what it refuses, and how it says so."""

import hmac
import json
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from integrations.channels.simulators.base import Ended

Json = dict[str, Any]


def signed(kind: str, payload: Json, secret: str, at: float) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a delivery by HTTP at an instant."""
    if kind == "events_api":
        body, media = json.dumps(payload).encode(), "application/json"
    else:
        form = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
        body, media = urlencode(form).encode(), "application/x-www-form-urlencoded"
    stamp = str(int(at))
    mac = hmac.digest(secret.encode(), f"v0:{stamp}:".encode() + body, "sha256").hex()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={mac}", "Content-Type": media}, body


def check_content(said: Json) -> None:
    """Refuse a message that Slack refuses."""
    if len(said.get("markdown_text", "")) > 12_000 or len(said.get("text", "")) > 40_000:
        raise error("msg_too_long")
    if "markdown_text" in said and ("blocks" in said or "text" in said):
        raise error("markdown_text_conflict")
    if not said.get("markdown_text") and not said.get("text") and not said.get("blocks"):
        raise error("no_text")
    if len(said.get("blocks", [])) > 50 or not all(_is_valid(block) for block in said.get("blocks", [])):
        raise error("invalid_blocks")


def _is_valid(block: Json) -> bool:
    kind, elements = block["type"], block.get("elements", [])
    if kind == "actions":
        names = [one["action_id"] for one in elements]
        fine = all(
            len(one["text"]["text"]) <= 75 and 0 < len(one.get("value") or one["url"]) <= 2000 for one in elements
        )
        return 0 < len(elements) <= 25 and len(set(names)) == len(names) and fine
    if kind == "header":
        return 0 < len(block["text"]["text"]) <= 150
    if kind == "markdown":
        return 0 < len(block["text"]) <= 12_000
    fields = block.get("fields", [])
    return len(fields) <= 10 and all(len(one["text"]) <= 2000 for one in fields)


def state(element: Json, value: str | None) -> Json:
    """Return the state of a modal's element that was filled in so."""
    if element["type"] == "static_select":
        options = [one for one in element["options"] if one["text"]["text"] == value]
        return {"selected_option": options[0] if options else None}
    return {"selected_date": value} if element["type"] == "datepicker" else {"value": value}


def error(code: str, **more: str) -> Ended:
    """Return the end of a call that Slack refuses."""
    return Ended(web.json_response({"ok": False, "error": code, **more}))
