"""Interactive cards made from the operator's template: text that grows, up to four buttons.

The template has the variables `content` (Markdown, streaming), `choice1` to `choice4` (labels; blank hides the
button) and sends with button N the parameters `token` = `tokenN` and `conversation`.
"""

import uuid

from integrations.channels.buttons import Buttons
from integrations.channels.dingtalk.api import Api
from integrations.channels.dingtalk.inbound import USER
from integrations.channels.http import Lost
from integrations.errors import Unavailable
from integrations.messages import Delivery, OutboundMessage

MAX_BUTTONS = 4


class Cards:
    """Cards of one template."""

    def __init__(self, api: Api, buttons: Buttons, template: str) -> None:
        self._api = api
        self._buttons = buttons
        self._template = template

    async def send(self, message: OutboundMessage) -> str:
        """Make a card and deliver it; returns our id of it. Raises Lost where nobody can tell."""
        conversation, robot = message.address.conversation, self._api.app.robot_code
        card_id = uuid.uuid5(uuid.NAMESPACE_URL, message.key).hex if message.key else uuid.uuid4().hex
        body: dict[str, object] = {"cardTemplateId": self._template, "outTrackId": card_id, "callbackType": "STREAM"}
        body["cardData"] = {"cardParamMap": self._values(message)}
        if conversation.startswith(USER):
            body |= {"openSpaceId": f"dtv1.card//IM_ROBOT.{conversation.removeprefix(USER)}"}
            body |= {"imRobotOpenDeliverModel": {"spaceType": "IM_ROBOT", "robotCode": robot}}
            body |= {"imRobotOpenSpaceModel": {"supportForward": False}}
        else:
            body |= {"openSpaceId": f"dtv1.card//IM_GROUP.{conversation}"}
            body |= {
                "imGroupOpenDeliverModel": {"robotCode": robot},
                "imGroupOpenSpaceModel": {"supportForward": False},
            }
        await self._api.call("POST", "/v1.0/card/instances/createAndDeliver", body)
        return card_id

    async def change(self, card_id: str, message: OutboundMessage) -> None:
        """Show another message on a card."""
        body: dict[str, object] = {"outTrackId": card_id, "cardData": {"cardParamMap": self._values(message)}}
        await self._api.call("PUT", "/v1.0/card/instances", body, repeatable=True)

    async def type(self, card_id: str, text: str, *, final: bool) -> None:
        """Show a text so far, or the whole."""
        body: dict[str, object] = {"outTrackId": card_id, "guid": uuid.uuid4().hex, "key": "content", "content": text}
        body |= {"isFull": True, "isFinalize": final, "isError": False}
        await self._api.call("PUT", "/v1.0/card/streaming", body, repeatable=True)

    def _values(self, message: OutboundMessage) -> dict[str, str]:
        values = {"content": message.text, "conversation": message.address.conversation}
        for number in range(1, MAX_BUTTONS + 1):
            choice = message.choices[number - 1] if number <= len(message.choices) else None
            values[f"choice{number}"] = choice.label if choice else ""
            values[f"token{number}"] = (
                self._buttons.seal(choice.text, message.address, account=message.asked) if choice else ""
            )
        return values


class CardStream:
    """One growing answer."""

    def __init__(self, cards: Cards, card_id: str) -> None:
        self._cards = cards
        self.handle = card_id

    async def update(self, text: str) -> None:
        """Show the text so far."""
        await self._cards.type(self.handle, text, final=False)

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Show the whole and its buttons."""
        try:
            await self._cards.type(self.handle, message.text, final=True)
            await self._cards.change(self.handle, message)
        except Lost as error:
            raise Unavailable(str(error)) from error
        return Delivery(state="sent", platform_id=self.handle)
