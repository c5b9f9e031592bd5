"""Where in authors' files something stands: Dagster keeps the ops' functions only, so their files are looked into."""

import ast
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import dagster as dg

from integrations.settings import Settings

PACKAGES = ("orchestration", "assets", "serving", "integrations")


def place_of_job(job: dg.JobDefinition, fallback: str) -> str:
    """Return `file:line` of a job's function, or of a workflow's command in YAML."""
    if (written := written_in(job)) is not None:
        return f"{short(written[0])}:{written[1]}"

    def makes_it(node: ast.AST) -> bool:
        return isinstance(node, ast.FunctionDef) and node.name == job.name and bool(node.decorator_list)

    return _place(_files_of(job), makes_it) or fallback


def place_of_schedule(schedule: dg.ScheduleDefinition, job: dg.JobDefinition) -> str:
    """Return `file:line` of a schedule that is declared near its job's ops; else the job's place."""

    def makes_it(node: ast.AST) -> bool:
        if isinstance(node, ast.FunctionDef):
            return node.name == schedule.name and any("schedule" in ast.unparse(one) for one in node.decorator_list)
        if not isinstance(node, ast.Call) or "schedule" not in ast.unparse(node.func).lower():
            return False
        said = {keyword.arg: keyword.value for keyword in node.keywords}
        if (name := said.get("name")) is not None:
            return isinstance(name, ast.Constant) and name.value == schedule.name
        of = said.get("job")
        return isinstance(of, ast.Name) and of.id == job.name and schedule.name == f"{job.name}_schedule"

    return _place(_files_of(job), makes_it) or place_of_job(job, schedule.name)


def written_in(job: dg.JobDefinition) -> tuple[str, int] | None:
    """Return the file and line of a workflow in YAML."""
    said = job.metadata.get("dagster/code_references")
    found = said.value.code_references if isinstance(said, dg.CodeReferencesMetadataValue) else ()
    return next(
        ((one.file_path, one.line_number or 1) for one in found if isinstance(one, dg.LocalFileCodeReference)), None
    )


def is_theirs(file: str, settings: Settings) -> bool:
    """Whether authors of workflows wrote a file: Runbell's own folders may lie beside theirs."""
    path, ours = Path(file), Path(__file__).parents[2]
    if not path.is_relative_to(settings.dagster.workspace.resolve().parent) or "site-packages" in path.parts:
        return False
    return not any(path.is_relative_to(ours / package) for package in PACKAGES)


def short(file: str) -> str:
    """Return a path as it is shown: from here, where it lies below."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def _files_of(job: dg.JobDefinition) -> Iterator[Path]:
    """Yield the Python files beside a job's ops, or beside the folder of a workflow in YAML."""
    if (written := written_in(job)) is not None:
        folders = [Path(written[0]).parent, Path(written[0]).parents[1]]
    else:
        functions = (getattr(getattr(op, "compute_fn", None), "decorated_fn", None) for op in job.all_node_defs)
        codes = (getattr(function, "__code__", None) for function in functions)
        folders = [Path(code.co_filename).parent for code in codes if code is not None]
    return chain.from_iterable(sorted(folder.glob("*.py")) for folder in dict.fromkeys(folders))


def _place(files: Iterator[Path], fits: Callable[[ast.AST], bool]) -> str | None:
    for file in files:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue
        if (found := next((node for node in ast.walk(tree) if fits(node)), None)) is not None:
            return f"{short(str(file))}:{getattr(found, 'lineno', 1)}"
    return None
