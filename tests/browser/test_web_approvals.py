"""An approval's card on the page, with the real gateway, PostgreSQL and dispatcher: shown, pressed, and final."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from integrations.database import ClaimedMessage, Database
from integrations.messages import Address
from integrations.settings import Settings
from orchestration.commands.dispatch import Dispatcher
from tests.approvals import MANAGERS, held, now
from tests.browser.chat import Chat
from tests.gateways import Gateway, ScriptedWorker, running_gateway


class Dispatching(ScriptedWorker):
    """Routes as a worker does; what would be a run is left."""

    def _handle(self, claimed: ClaimedMessage) -> None:
        self.handled.append(claimed.message_id)
        if claimed.message.approval is None:
            Dispatcher(self.database, Settings())(claimed)


@pytest.fixture
def gateway(database_url: str, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(database_url, tmp_path / "home") as gateway:
        yield gateway


def test_a_card_is_decided_by_a_button_and_shows_the_end_in_its_place(
    new_page: Callable[..., Page], gateway: Gateway, tmp_path: Path
) -> None:
    database = Database(gateway.database_url, files=gateway.home / "files", pool_size=4)
    chat = Chat(new_page()).open(gateway.client.post("/v1/session-links").json()["url"])
    conversation = chat.page.evaluate("new URLSearchParams(location.search).get('conversation')")
    place = Address(channel="web", conversation=conversation)
    approval = held(database, MANAGERS.model_copy(update={"approvers": ("role:admin",), "conversation": place}))

    card = chat.page.locator('.said[data-card="waiting"]')
    expect(card).to_contain_text("/refund order=7")
    expect(card.get_by_role("button", name="Approve")).to_be_visible()
    with Dispatching(database):
        card.get_by_role("button", name="Approve").click()
        final = chat.page.locator('.said[data-card="succeeded"]')
        expect(final).to_contain_text("Approved: owner")

    expect(final.locator(".choice")).to_have_count(0)
    expect(chat.page.locator('.said[data-card="waiting"]')).to_have_count(0)
    assert now(database, approval).state == "approved"
    chat.page.reload()
    expect(chat.page.locator(".said[data-card]")).to_have_count(1)
    expect(chat.page.locator('.said[data-card="succeeded"]')).to_be_visible()
    database.close()
