"""Is e-mail set up? Signs in to both servers, asks whether we may send, and sends nothing."""

from integrations.channels.email.access import access
from integrations.channels.email.mailbox import Box
from integrations.channels.email.submit import probe
from integrations.errors import Rejected, RunbellError
from integrations.settings_channels import Email


async def check(section: Email) -> list[str]:
    """Return what is wrong, each with what to do next; nothing where mails can be read and sent."""
    try:
        reach = access(section)
        reach.tls()
    except RunbellError as error:
        return [str(error)]
    found: list[str] = []
    try:
        async with Box(reach) as box:
            await box.run(box.unread)
    except RunbellError as error:
        found.append(f"IMAP: {error}")
    try:
        await probe(reach)
    except Rejected as error:
        found.append(f"SMTP: the account may not send as {reach.address}: {error}")
    except RunbellError as error:
        found.append(f"SMTP: {error}")
    return found
