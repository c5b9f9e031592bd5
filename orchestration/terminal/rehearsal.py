"""`runbell record` and `runbell replay`: a real conversation as a file, and what changed code makes of it."""

import contextlib
import importlib
import importlib.util
import logging
import sys
from pathlib import Path

import dagster as dg

from integrations.errors import InvalidInput, Misconfigured
from integrations.settings import Settings
from orchestration.supervise.locations import Location, read_locations
from orchestration.terminal.shared import print_json
from orchestration.terminal.store import opened
from orchestration.testing import Server
from orchestration.testing.recording import HOW, read, record
from orchestration.testing.replaying import differences, replay
from orchestration.testing.walls import walls
from orchestration.warm.routing import CORE


def record_here(conversation: str, channel: str | None, settings: Settings, endpoints: Path) -> str:
    """Return a conversation of the running installation as YAML. Raises NotUp without one."""
    with opened(settings, endpoints) as database:
        return record(database, settings.tenant, conversation, channel).written()


def replay_here(file: Path, settings: Settings, *, accept: bool, online: bool, as_json: bool) -> bool:
    """Replay a file, print what is different, and tell whether all is as it was; accepted, the file says it then."""
    try:
        recording = read(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{file} can't be read: {error.strerror}. {HOW}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file}: this is no recorded conversation, it is no text. {HOW}") from error
    except InvalidInput as error:
        raise InvalidInput(f"{file}: {error}", field=error.field) from error
    logging.getLogger().setLevel(logging.ERROR)
    server = Server()
    try:
        with contextlib.nullcontext() if online else walls():
            after = replay(recording, server, workflows(settings.dagster.workspace))
    finally:
        server.close()
    found = list(differences(recording, after))
    if accept:
        file.write_text(after.written(), encoding="utf-8")
    if as_json:
        print_json({"same": not found, "turns": len(after.turns), "differences": found})
    else:
        print("\n\n".join(found) or f"{len(after.turns)} turns, all as recorded.")
    return accept or not found


def workflows(workspace: Path) -> dict[str, dg.Definitions]:
    """Return the definitions of all code locations but our own. Raises `Misconfigured`."""
    if str(workspace.resolve().parent) not in sys.path:
        sys.path.insert(0, str(workspace.resolve().parent))
    return {location.name: _definitions(location) for location in read_locations(workspace) if location.name != CORE}


def _definitions(location: Location) -> dg.Definitions:
    kind, target, *_ = location.arguments
    if str(location.folder) not in sys.path:
        sys.path.insert(0, str(location.folder))
    if kind == "--python-file":
        spec = importlib.util.spec_from_file_location(Path(target).stem, target)
        if spec is None or spec.loader is None:
            raise Misconfigured(f"{target} can't be loaded.")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(target)
    found = [value for value in vars(module).values() if isinstance(value, dg.Definitions)]
    if len(found) != 1:
        raise Misconfigured(f"{location.name}: {target} must have one dg.Definitions to be replayed, not {len(found)}.")
    return found[0]
