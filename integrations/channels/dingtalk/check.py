"""Is DingTalk's app set up? Asks the platform itself, and says what is missing and where to find it."""

from collections.abc import Mapping

from integrations.channels.dingtalk.api import Api, App
from integrations.channels.dingtalk.verify import BOT_TOPIC
from integrations.errors import Misconfigured, Rejected, RunbellError
from integrations.security import secrets
from integrations.settings_channels import DingTalk

_NOTHING: Mapping[str, object] = {"msgKey": "sampleText", "msgParam": '{"content": ""}'}
_NO_TEXT: Mapping[str, object] = {"key": "content", "content": "", "isFull": True, "isFinalize": True, "isError": False}


async def check(section: DingTalk) -> list[str]:
    """Return what is wrong, in plain words; nothing where the app can be used with these settings."""
    key = (section.app_key or "").strip()
    found = [] if key else ["channels.dingtalk.app_key is missing: copy the Client ID from the app's page."]
    if (section.event_token is None) != (section.event_aes_key is None):
        found.append("channels.dingtalk needs event_token and event_aes_key, or neither.")
    try:
        secret = secrets.resolve(section.app_secret, name="channels.dingtalk.app_secret")
    except RunbellError as error:
        return [*found, str(error)]
    if found:
        return found
    api = Api(App(key, secret, section.robot_code or key, section.api_url.rstrip("/")))
    try:
        await api.authenticate()
        found += await _lacking(api, cards=section.card_template_id is not None)
        if section.mode == "stream":
            # A ticket that is not used ends by itself after 90 seconds.
            await api.open_stream([{"type": "CALLBACK", "topic": BOT_TOPIC}])
    except RunbellError as error:
        found.append(str(error))
    finally:
        await api.aclose()
    return found


async def _lacking(api: Api, *, cards: bool) -> list[str]:
    """Return which permissions are missing: asked by calls that can do nothing, since they name nobody."""
    calls = [
        ("POST", "/v1.0/robot/oToMessages/batchSend", {"robotCode": api.app.robot_code, "userIds": [], **_NOTHING})
    ]
    if cards:
        nobody = {"outTrackId": "runbell-asks"}
        calls.append(("PUT", "/v1.0/card/instances", {**nobody, "cardData": {"cardParamMap": {}}}))
        calls.append(("PUT", "/v1.0/card/streaming", {**nobody, "guid": "runbell-asks", **_NO_TEXT}))
    found: list[str] = []
    for method, path, content in calls:
        try:
            await api.call(method, path, content, repeatable=True)
        except Rejected:
            continue  # So it was looked at, as only calls with the permission are.
        except Misconfigured as error:
            found.append(str(error))
    return found
