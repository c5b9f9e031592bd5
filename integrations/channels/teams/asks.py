"""What Microsoft must tell us: the Azure portal, and Teams itself for an outgoing webhook."""

from integrations.channels.setup import Ask

ASKS = (
    Ask("app_id", "Azure Bot → Configuration → Microsoft App ID", optional=True),
    Ask("app_secret", "the app registration → Certificates & secrets → Client secret", secret=True, optional=True),
    Ask("app_tenant", "the tenant's id for a single-tenant bot, botframework.com otherwise", optional=True),
    Ask("security_token", "the team → Apps → Outgoing webhook → its token", secret=True, optional=True),
)
