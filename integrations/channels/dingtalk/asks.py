"""What DingTalk must tell us: the app's page in the developer console."""

from integrations.channels.setup import Ask

ASKS = (
    Ask("mode", "stream needs no public address; http does"),
    Ask("app_key", "Credentials and basic information → Client ID"),
    Ask("app_secret", "Credentials and basic information → Client Secret", secret=True),
    Ask("robot_code", "Robot → RobotCode, if it is not the Client ID", optional=True),
    Ask("card_template_id", "card platform → your template's id: answers then grow on a card", optional=True),
)
