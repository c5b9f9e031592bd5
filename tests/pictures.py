"""`make pictures`: the pictures of docs/channels, made anew: dialogues, status, a run, against the simulated networks.

A dialogue is the real command in a real terminal (a pty), and what it showed is drawn by Chromium. Addresses of
simulators are written as the networks' own.
"""

import asyncio
import fcntl
import io
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import tomlkit
from PIL import Image
from playwright.async_api import Browser, async_playwright
from rich.console import Console
from rich.text import Text

from integrations.channels.setup import networks
from integrations.channels.simulators.dingtalk import SimulatedDingTalk
from integrations.channels.simulators.discord import SimulatedDiscord
from integrations.channels.simulators.email import SimulatedEmail
from integrations.channels.simulators.feishu import SimulatedFeishu
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.teams import SimulatedTeams
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.channels.simulators.wecom_robot import SimulatedWeComRobot
from tests.browser.conftest import FLAGS, chromium
from tests.e2e.platform import RUNBELL, Platform

FOLDER = Path(__file__).parent.parent / "docs" / "images" / "channels"
SIMULATORS: Mapping[str, type[Any]] = {
    "dingtalk": SimulatedDingTalk,
    "discord": SimulatedDiscord,
    "email": SimulatedEmail,
    "feishu": SimulatedFeishu,
    "slack": SimulatedSlack,
    "teams": SimulatedTeams,
    "telegram": SimulatedTelegram,
    "wecom": SimulatedWeComRobot,
}
PUBLIC = "https://bell.example.com"
MOST_BYTES = 100_000
PAGE = """<meta charset=utf-8><style>body{{margin:0;background:#fff}}
pre{{display:inline-block;margin:12px;padding:14px 18px;border-radius:8px;background:#1b1f24;color:#dfe3e8;
font:13px/1.45 'DejaVu Sans Mono','Noto Sans Mono CJK SC',monospace;white-space:pre-wrap;max-width:96ch}}</style>
<pre>{code}</pre>"""
_ON_PATH = os.environ | {"PATH": f"{RUNBELL.parent}:{os.environ['PATH']}"}
_PROMPT = re.compile(r"(?:^|\n)(\w+)(?: \[[^\n]*\])?: $")


async def main(wanted: list[str]) -> None:
    """Make the pictures that are named, or all."""
    FOLDER.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for name in SIMULATORS:
            if not wanted or name in wanted:
                await connecting(browser, name)
        if not wanted or "slack" in wanted:
            await several(browser)
        if not wanted or "platform" in wanted:
            await platform(browser)
        await browser.close()


async def connecting(browser: Browser, name: str) -> None:
    """Draw `runbell connect NAME`; Slack's begins with a scope that is missing."""
    async with SIMULATORS[name]() as simulator:
        section = _pushed(name, simulator)
        with tempfile.TemporaryDirectory(prefix="bell") as folder:
            _begin(Path(folder), name, section)
            if name == "slack":
                simulator.scopes.discard("files:read")
            shown = await asyncio.to_thread(_typed, Path(folder), section, "connect", name)
            if name == "slack":
                simulator.scopes.add("files:read")
                shown += await asyncio.to_thread(_typed, Path(folder), section, "connect", name, "--check")
        await drawn(browser, f"connect-{name}", _as_real(shown, name, section))


async def several(browser: Browser) -> None:
    """Draw the way over OAuth."""
    async with SimulatedSlack() as slack:
        section = slack.several().model_dump(mode="json", exclude_none=True)
        with tempfile.TemporaryDirectory(prefix="bell") as folder:
            _begin(Path(folder), "slack", section)
            shown = await asyncio.to_thread(_typed, Path(folder), section, "connect", "slack")
        await drawn(browser, "connect-slack-several", _as_real(shown, "slack", section))


async def platform(browser: Browser) -> None:
    """Draw `runbell status` with every network connected, and the run of a message from Slack in the Dagster UI."""
    async with AsyncExitStack() as stack:
        running = {name: await stack.enter_async_context(kind()) for name, kind in SIMULATORS.items()}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bell")))
        place = Platform(folder)
        settings = tomlkit.parse((folder / "runbell.toml").read_text())
        settings["gateway"] = {"public_url": PUBLIC}
        for name, simulator in running.items():
            settings["channels"][name] = _pushed(name, simulator)  # pyright: ignore[reportIndexIssue]
        (folder / "runbell.toml").write_text(tomlkit.dumps(settings))
        await asyncio.to_thread(place.start)
        try:
            slack = running["slack"]
            await slack.until(lambda: slack.sockets, seconds=60)
            await slack.say("C1", "<@UBOT> what can you do?")
            await slack.until(lambda: slack.posted("C1") and not slack.posted("C1")[-1].get("streaming"), seconds=120)
            status = await asyncio.to_thread(
                subprocess.run,
                [RUNBELL, "status"],
                cwd=folder,
                env=_ON_PATH | place.env | {"PATH": _ON_PATH["PATH"], "FORCE_COLOR": "1", "COLUMNS": "110"},
                capture_output=True,
                text=True,
                check=False,
            )
            await drawn(browser, "status", f"$ runbell status\n{status.stdout}")
            await _run(browser, place)
        finally:
            await asyncio.to_thread(place.stop)


async def drawn(browser: Browser, name: str, shown: str) -> None:
    """Draw what a terminal showed."""
    console = Console(record=True, width=110, file=io.StringIO())
    console.print(Text.from_ansi(shown.strip()), soft_wrap=True)
    page = await browser.new_page(viewport={"width": 900, "height": 600})
    await page.set_content(PAGE.format(code=console.export_html(inline_styles=True, code_format="{code}")))
    _kept(name, await page.locator("pre").screenshot())
    await page.close()


async def _run(browser: Browser, place: Platform) -> None:
    """Draw the newest run."""
    url = f"http://127.0.0.1:{place.dagster}"
    query = {
        "query": '{ runsOrError(limit: 1, filter: {pipelineName: "assistant"}) { ... on Runs { results { id } } } }'
    }
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = (await client.post(f"{url}/graphql", json=query)).json()
    run_id = answer["data"]["runsOrError"]["results"][0]["id"]
    page = await browser.new_page(viewport={"width": 1180, "height": 760})
    await page.goto(f"{url}/runs/{run_id}")
    await page.get_by_text("RUN_SUCCESS").first.wait_for(timeout=60_000)
    await page.get_by_role("button", name="View tags and config").click()
    await page.get_by_text("runbell/channel").first.wait_for(timeout=60_000)
    await asyncio.sleep(0.5)  # The dialogue slides in.
    _kept("run", await page.screenshot())
    await page.close()


def _kept(name: str, png: bytes) -> None:
    """Keep a picture with few colours, so that it is small."""
    path = FOLDER / f"{name}.png"
    Image.open(io.BytesIO(png)).convert("RGB").quantize(48).save(path, optimize=True)
    size = path.stat().st_size
    sys.stdout.write(f"{path}: {size} bytes\n")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} is larger than {MOST_BYTES} bytes.")


def _pushed(name: str, simulator: Any) -> dict[str, Any]:
    """Return the section that connects by the network's own push connection, where it has one."""
    modes = {"discord": {"mode": "gateway", "public_key": None}, "feishu": {"mode": "socket"}}
    section = simulator.settings().model_copy(update=modes.get(name, {}))
    return section.model_dump(mode="json", exclude_none=True)


def _begin(folder: Path, name: str, section: Mapping[str, object]) -> None:
    """Write a project whose network is a simulator: what a person isn't asked for stands there already."""
    home = folder / ".runbell"
    home.mkdir(mode=0o700)
    (home / "token").write_text("a token for pictures only\n")
    (home / "token").chmod(0o600)
    asked = {ask.name for ask in networks()[name].asks}
    kept = {key: value for key, value in section.items() if key not in asked}
    settings = {"gateway": {"public_url": PUBLIC}, "channels": {name: kept}}
    (folder / "runbell.toml").write_text(tomlkit.dumps(settings))


def _typed(folder: Path, answers: Mapping[str, object], *words: str) -> str:
    """Run a command in a terminal, answer what it asks, and return what was to be seen."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # getpass asks the terminal itself.

    process = subprocess.Popen(
        [RUNBELL, *words],
        cwd=folder,
        env=_ON_PATH | {"RUNBELL_HOME": str(folder / ".runbell"), "COLUMNS": "110"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509 - no other thread of ours holds a lock that it needs
    )
    os.close(theirs)
    shown = ""
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        while True:
            try:
                read = terminal.read(4096)
            except OSError:  # Linux' way to say that the other end is closed.
                break
            shown += read.decode(errors="replace").replace("\r\n", "\n")
            asked = _PROMPT.search(shown)
            if asked is not None:
                shown += "\u200b"  # So that it is answered once.
                terminal.write(f"{answers.get(asked[1], '')}\n".encode())
    process.wait()
    return f"$ runbell {' '.join(words)}\n{shown}\n"


def _as_real(shown: str, name: str, section: Mapping[str, object]) -> str:
    """Write the network's own addresses in the place of the simulator's."""
    fields = networks()[name].section.model_fields
    for key, value in section.items():
        real = fields[key].default
        if isinstance(value, str) and isinstance(real, str) and "127.0.0.1" in value:
            shown = shown.replace(value, real)
    shown = re.sub(r"/tmp/bell\w+", "…", shown)
    return shown.replace("127.0.0.1", "mail.example.com") if name == "email" else shown


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
