"""The code location `core`: every job, schedule, sensor and asset of this repository, found by itself.

A new file in `jobs/`, `triggers/` or `assets/` is enough; nothing is listed here. Your own workflows live in
code locations of their own, see `examples/`.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import TypeVar

import dagster as dg

import assets
from integrations.database import Database
from integrations.settings import Settings
from orchestration import jobs, triggers
from orchestration.resources import build
from orchestration.triggers.from_chat import schedules_from_chat

Found = TypeVar("Found")


def _modules(package: ModuleType) -> list[ModuleType]:
    names = (found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))
    return [importlib.import_module(name) for name in sorted(names)]


def _found(modules: Iterable[ModuleType], kind: type[Found]) -> list[Found]:
    """Return the module-level definitions of one kind; what a module imports from another counts once."""
    values = (value for module in modules for value in vars(module).values())
    return list({id(value): value for value in values if isinstance(value, kind)}.values())


_AssetJob = type(dg.define_asset_job("any"))  # has no public name
_all = [module for package in (jobs, triggers, assets) for module in _modules(package)]
_resources = build(Settings())
_database = _resources["database"]
assert isinstance(_database, Database)
defs = dg.Definitions(
    jobs=[*_found(_all, dg.JobDefinition), *_found(_all, _AssetJob)],
    schedules=[*_found(_all, dg.ScheduleDefinition), *schedules_from_chat(_database)],
    sensors=_found(_all, dg.SensorDefinition),
    assets=dg.load_assets_from_modules(_all),
    resources=_resources,
)
