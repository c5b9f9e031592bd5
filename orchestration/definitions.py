"""The code location `core`: every job, schedule, sensor and asset of this repository, found by itself.

A new file in `jobs/`, `triggers/` or `assets/` is enough; nothing is listed here. Your own workflows live in
code locations of their own, see `examples/`.
"""

import importlib
import pkgutil
from types import ModuleType

import dagster as dg

import assets
from integrations.settings import Settings
from orchestration import jobs, triggers
from orchestration.resources import build


def _modules(package: ModuleType) -> list[ModuleType]:
    names = (found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))
    return [importlib.import_module(name) for name in sorted(names)]


defs = dg.load_definitions_from_modules(
    [module for package in (jobs, triggers, assets) for module in _modules(package)],
    resources=build(Settings()),
)
