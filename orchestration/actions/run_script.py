"""Action `run_script`: a script of the operator's folder (or code, where allowed), closed in and bounded."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, model_validator

from integrations import sandbox
from integrations.errors import Forbidden, InvalidInput, NotFound, Rejected
from integrations.settings import Settings
from orchestration.actions import FIXED, Arguments, Effect, Means, Occasion, Outcome
from orchestration.piping import piped

SHOWN = 4_000
"""Characters of output that stand in the text; `data` has all."""
_RUNNERS = {".py": ("python3", "-P", "-s"), ".sh": ("sh",)}
"""Python finds its own modules and those that it is lent: neither the script's folder nor a user's."""
_ENDINGS = {"python": ".py", "sh": ".sh"}


class Script(Arguments):
    """What to run: `script`, a file below the folder of scripts, or `code`."""

    script: str | None = Field(default=None, json_schema_extra=FIXED)
    code: str | None = Field(default=None, max_length=100_000, json_schema_extra=FIXED)
    language: Literal["python", "sh"] = Field(default="python", json_schema_extra=FIXED)
    arguments: list[str] = Field(default_factory=list[str], max_length=100)
    input: str = Field(default="", max_length=1_000_000, description="What the script reads from standard input.")

    @model_validator(mode="after")
    def _one(self) -> "Script":
        if (self.script is None) == (self.code is None):
            raise ValueError("give either script or code")
        if any("\0" in word for word in self.arguments):
            raise ValueError("arguments must not hold NUL")
        return self


class RunScript:
    """Runs; what is closed in can change nothing outside, so it counts as a write only where it is not."""

    name = "run_script"
    summary = "Run a script, closed in: no network, no files but its own, bounded in time, memory and output."
    arguments = Script

    def effect(self, args: Script, settings: Settings) -> Effect:  # noqa: ARG002 - the protocol's
        """Tell by the containment that is asked for."""
        return "write" if settings.actions.scripts.containment == "required" else "destructive"

    def preview(self, args: Script, settings: Settings) -> str:
        """Say what would run, and behind which walls."""
        scripts = settings.actions.scripts
        walls = "closed in by bubblewrap" if scripts.containment == "required" else "WITHOUT walls, only bounded"
        if args.code is not None:
            if not scripts.code:
                raise Forbidden("Code as an argument is not allowed here (setting actions.scripts.code).")
            return f"would run {len(args.code)} characters of {args.language}, {walls}"
        path = _find(args.script or "", scripts.folder)
        return f"would run {' '.join([path.name, *args.arguments])}, {walls}"

    def carry_out(self, args: Script, means: Means, occasion: Occasion) -> Outcome:
        """Run it. Raises `Rejected` where it failed or met a bound, `Misconfigured` where it can't be closed in."""
        scripts = means.settings.actions.scripts
        bounds = sandbox.Bounds(
            scripts.timeout_s, scripts.memory_bytes, scripts.output_bytes, scripts.file_bytes, scripts.processes
        )
        with _workplace(args, scripts.folder) as (folder, command), piped() as pipes:
            ended = sandbox.run(
                command,
                folder,
                environment={"RUNBELL_KEY": occasion.key, **(pipes.environment if pipes else {})},
                bounds=bounds,
                stdin=args.input.encode("utf-8", "replace"),
                contain=scripts.containment == "required",
                reports=pipes.reports if pipes else None,
            )
        return _outcome(ended, bounds, pipes.said if pipes else [])


@contextmanager
def _workplace(args: Script, scripts: Path) -> Generator[tuple[Path, list[str]]]:
    """Give a folder that holds a copy of the script and nothing else, and the command that runs it."""
    with tempfile.TemporaryDirectory(prefix="runbell-script-") as name:
        folder = Path(name)
        if args.code is not None:
            place = folder / f"script{_ENDINGS[args.language]}"
            place.write_text(args.code, encoding="utf-8")
        else:
            source = _find(args.script or "", scripts)
            place = folder / source.name
            shutil.copy(source, place)
        yield folder, [*_RUNNERS[place.suffix], place.name, *args.arguments]


def _find(name: str, scripts: Path) -> Path:
    """Return a script's path; raise `NotFound` for anything that does not lie in the folder itself or below it."""
    folder = scripts.expanduser().resolve()
    path = (folder / name.replace("\0", "")).resolve()
    if not name or "\0" in name or not path.is_relative_to(folder) or not path.is_file():
        raise NotFound(f"There is no script {name[:200]!r} in {folder} (setting actions.scripts.folder).")
    if path.suffix not in _RUNNERS:
        raise InvalidInput(f"Scripts end with {' or '.join(_RUNNERS)}, not {path.suffix!r}.", field="script")
    return path


def _outcome(ended: sandbox.Ended, bounds: sandbox.Bounds, reported: list[JsonValue]) -> Outcome:
    met = {
        "time": f"took longer than {bounds.seconds:g} s",
        "memory": f"used more than {bounds.memory} bytes of memory",
        "output": f"said more than {bounds.output} bytes",
        "files": f"wrote more than {bounds.files} bytes",
    }
    if ended.reason != "ended":
        raise Rejected(f"The script {met[ended.reason]} and was stopped (setting actions.scripts).")
    if ended.status != 0:
        said = (ended.errors or ended.output).strip()[-SHOWN:]
        raise Rejected(f"The script failed with status {ended.status}.\n{said}".strip())
    shown = ended.output if len(ended.output) <= SHOWN else ended.output[:SHOWN] + "…"
    said = {"output": ended.output, "errors": ended.errors, "messages": reported}
    data = {"status": ended.status, **said, "contained": ended.contained}
    return Outcome(text=shown.rstrip() or "The script said nothing.", data=data)


ACTION = RunScript()
