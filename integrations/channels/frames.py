"""Frames of push connections: JSON objects, read with the bounds of everything that strangers write."""

import logging

from integrations.channels.members import Json
from integrations.errors import InvalidInput
from integrations.security.documents import read_json

logger = logging.getLogger(__name__)


def read_frame(raw: object, channel: str, *, limit: int) -> Json:
    """Return what a frame's text says; nothing for other frames, and for what can't be read, which the log tells."""
    if not isinstance(raw, str):
        return {}
    try:
        return read_json(raw, limit=limit)
    except InvalidInput as error:
        logger.warning("a frame can't be read", extra={"channel": channel, "error": str(error)})
        return {}
