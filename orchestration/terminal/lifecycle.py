"""`runbell up` and `down` as people see them: progress, links, and what to do when it does not work."""

import os
import sys
import threading
import time
import webbrowser

from integrations.errors import RunbellError
from integrations.gateway.client import Client
from integrations.gateway.installation import program, reach
from integrations.settings import Settings
from orchestration.supervise import launch
from orchestration.supervise.board import read_board
from orchestration.supervise.home import Home
from orchestration.supervise.screen import Screen
from orchestration.supervise.variables import in_sentences


def start(settings: Settings, home: Home) -> int:
    """Start everything; return the exit status."""
    _warn(settings)
    try:
        with Screen() as screen:
            outcome = launch.up(home, screen.show)
    except KeyboardInterrupt:
        _say(f"It goes on starting in the background. See: {program()} status. Stop it with: {program()} down")
        return 130
    for problem in outcome.problems:
        _say(f"✗ {problem}" if outcome.kind == "failed" else f"! {problem}")
    if outcome.kind == "failed":
        return 1
    print("Runbell is already up." if outcome.kind == "already" else f"Runbell is up after {outcome.seconds:.1f} s.")
    links(settings, home)
    return 0


def start_in_foreground(settings: Settings, home: Home) -> int:
    """Be the supervisor: for containers and service managers. Progress goes to stderr as lines."""
    from orchestration.supervise.__main__ import RUNNING, main

    _warn(settings)
    home.create()
    threading.Thread(target=_tell, args=(settings, home), daemon=True).start()
    status = main()
    if status == RUNNING:
        _say(f"Runbell is already up. Stop it with: {program()} down")
        return 1
    if status and (board := read_board(home.state)):
        for problem in board.problems:
            _say(f"✗ {problem}")
    return status


def stop(home: Home) -> int:
    """Stop everything; return the exit status."""
    began = time.monotonic()
    with Screen() as screen:
        problems = launch.down(home, screen.show)
    for problem in problems:
        _say(f"! {problem}")
    print(f"Runbell is down after {time.monotonic() - began:.1f} s.")
    return 1 if problems else 0


def open_chat(settings: Settings, home: Home) -> None:
    """Open the chat page in a browser of this machine, or print the link that does. Raises NotUp."""
    with Client(reach(settings), home.path) as client:
        link = client.session_link()
    seen = sys.stdout.isatty() and ("DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ)
    # A text browser would take the terminal, and the link works once.
    if seen and webbrowser.open(link):
        print("The chat page is open in your browser.")
    else:
        print(link)


def links(settings: Settings, home: Home) -> None:
    """Print where to go, with a new sign-in link for the chat page."""
    try:
        with Client(reach(settings), home.path) as client:
            addresses(settings, client.session_link(), f"(this link works once; {program()} open makes another)")
    except RunbellError as error:
        addresses(settings, settings.gateway_url, f"(no link: {error})")


def addresses(settings: Settings, chat: str, remark: str) -> None:
    """Print where to go."""
    print(f"  Chat        {chat}   {remark}")
    print(f"  Dagster UI  {settings.dagster_url}")
    print("  Or          " + " · ".join(f"{program()} {word}" for word in ("chat", "send 'Hello'", "status", "down")))


def _warn(settings: Settings) -> None:
    for told in in_sentences(os.environ, settings):
        _say(f"! {told}")


def _tell(settings: Settings, home: Home) -> None:
    screen = Screen()
    while True:
        time.sleep(0.3)
        board = read_board(home.state)
        if board is None:
            continue
        screen.show(board)
        if board.phase == "ready":
            links(settings, home)
            return


def _say(text: str) -> None:
    print(text, file=sys.stderr)
