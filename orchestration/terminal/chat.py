"""`runbell chat`: one conversation in the terminal, streaming. Without a terminal it answers each line of stdin.

While an answer is on its way there is no prompt, so that tokens can be shown as they come; Ctrl-C then cancels the run.
What others post meanwhile (a digest) appears above the prompt.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from integrations.gateway.client import Client
from integrations.gateway.live import LiveChat
from orchestration.supervise.home import private_folder, read_json, write_private
from orchestration.terminal.transcript import Transcript

Ask = Callable[[], Awaitable[str]]


def talk(url: str, home: Path, conversation: str) -> int:
    """Chat until the user leaves; return the exit status. Raises NotUp where nothing runs."""
    with Client(url, home) as client:
        client.commands()
    folder = home / "chat"
    private_folder(folder)
    seen = folder / "seen.json"
    after = read_json(seen).get(conversation)
    live = LiveChat(url, home, conversation, after=after if isinstance(after, int) else 0)
    transcript = Transcript(live, _write, url=url, colours=sys.stdout.isatty())
    try:
        asyncio.run(_talk(live, transcript, folder))
    finally:
        write_private(seen, json.dumps({**read_json(seen), conversation: live.after}))
    return 1 if transcript.failures and not sys.stdin.isatty() else 0


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


async def _talk(live: LiveChat, transcript: Transcript, folder: Path) -> None:
    following = asyncio.create_task(transcript.follow())
    conversing = asyncio.create_task(_converse(live, transcript, folder))
    done, left = await asyncio.wait([following, conversing], return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for task in done:
        task.result()


async def _converse(live: LiveChat, transcript: Transcript, folder: Path) -> None:
    await transcript.connected.wait()
    if sys.stdin.isatty():
        await _at_the_prompt(live, transcript, folder)
    else:
        await _each_line(live, transcript)


async def _each_line(live: LiveChat, transcript: Transcript) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip():
            await transcript.answered(await live.say(line.strip()))


async def _at_the_prompt(live: LiveChat, transcript: Transcript, folder: Path) -> None:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.patch_stdout import patch_stdout

    history = folder / "history"
    history.touch(mode=0o600)
    session: PromptSession[str] = PromptSession(history=FileHistory(str(history)), enable_open_in_editor=True)
    print("Ctrl-D leaves, Ctrl-C cancels an answer, /help lists commands.")
    while True:
        with patch_stdout(raw=True):
            try:
                text = (await session.prompt_async("› ")).strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
        if text:
            await _answer(live, transcript, text)


async def _answer(live: LiveChat, transcript: Transcript, text: str) -> None:
    """Send, and wait for the end; Ctrl-C asks for a cancellation, a second one stops waiting."""
    waiting = asyncio.create_task(transcript.answered(await live.say(text)))
    interrupts: list[int] = []
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        interrupts.append(1)
        if len(interrupts) == 1:
            print("\n(cancelling; Ctrl-C again to stop waiting)")
            cancelling.append(asyncio.ensure_future(live.say("/cancel")))
        else:
            waiting.cancel()

    cancelling: list[asyncio.Future[str]] = []
    loop.add_signal_handler(2, interrupted)
    try:
        with suppress(asyncio.CancelledError):
            await waiting
    finally:
        loop.remove_signal_handler(2)
