"""Whether secrets and addresses in the settings have the form that those who use them want; nothing is connected to."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import urlsplit

from integrations.errors import Misconfigured
from integrations.gateway.installation import program
from integrations.security.sealing import Seal
from integrations.security.secrets import resolve
from integrations.settings import Settings

WEB = {"http", "https"}
POSTGRES = {"postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"}


def misformed(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each secret and address that is set by the setting's name, with what is wrong with it or nothing."""
    for name, look in (*_secrets(settings), *_addresses(settings)):
        try:
            look()
        except Misconfigured as error:
            yield name, str(error)
        else:
            yield name, ""
    yield from _networks(settings)


def where_to_mend(name: str) -> str:
    """Say where a setting stands, and how a secret of webhooks is made."""
    if name.startswith("channels.") and name.count(".") == 1:
        network = name.removeprefix("channels.")
        return f"`{program()} connect {network}` asks for what it needs; it stands in [{name}] of runbell.toml."
    mend = f"Mend {name} in runbell.toml, or RUNBELL_{name.replace('.', '__').upper()} in the environment."
    signs = name.startswith("channels.webhook.") or name == "gateway.callback_secret"
    return f"{mend} `echo whsec_$(openssl rand -base64 32)` makes one." if signs else mend


def _secrets(settings: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    from integrations.channels.webhook import signature_of

    key, callback, sealing = settings.serving.api_key, settings.gateway.callback_secret, settings.sealing_key
    if key is not None:
        yield "serving.api_key", lambda: resolve(key, name="serving.api_key")
    if callback is not None:
        yield "gateway.callback_secret", lambda: _webhook_secret(callback, "gateway.callback_secret")
    if sealing is not None:
        yield "sealing_key", lambda: Seal.of(sealing, settings.state)
    for source, webhook in settings.channels.webhook.items():
        yield f"channels.webhook.{source}.secret", partial(signature_of, source, webhook)


def _webhook_secret(reference: str, name: str) -> None:
    from integrations.channels.webhook.verify import StandardSignature

    StandardSignature([resolve(reference, name=name).get_secret_value()], name=name)


def _addresses(settings: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    web = {
        "gateway.public_url": settings.gateway.public_url,
        "dagster.public_url": settings.dagster.public_url,
        "serving.base_url": settings.serving.base_url,
        "telemetry.otlp_endpoint": settings.telemetry.otlp_endpoint,
    }
    for name, address in web.items():
        if address is not None:
            yield name, partial(_check, name, address, WEB, "https://…")
    if (database := settings.database.url) is not None:
        form = "postgresql://user:password@host:port/name"
        yield (
            "database.url",
            lambda: _check("database.url", resolve(database, name="database.url").get_secret_value(), POSTGRES, form),
        )


def _check(name: str, address: str, schemes: set[str], form: str) -> None:
    """Raise Misconfigured unless an address is of one of these schemes; it is not shown: a password may stand in it."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise Misconfigured(f"{name} is no address ({error}): write {form}.") from error
    # PostgreSQL's socket stands in the query.
    if parts.scheme not in schemes or not (parts.hostname or parts.scheme in POSTGRES):
        raise Misconfigured(f"{name} is no address of the form {form}.")


def _networks(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the networks that are set up, with why one does not start."""
    from integrations.channels import find

    # The log of the gateway says the same; here it is a finding.
    logging.getLogger("integrations.channels").setLevel(logging.CRITICAL)
    refused = find(settings).refused
    for network in type(settings.channels).model_fields:
        if network != "webhook" and getattr(settings.channels, network) is not None:
            yield f"channels.{network}", refused.get(network, "")
