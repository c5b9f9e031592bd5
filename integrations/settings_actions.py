"""The table `[actions]` of the settings file: what actions may reach, and with which limits; closed where silent."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from integrations.durations import Seconds
from integrations.settings_section import Section

MEBIBYTE = 1_048_576


class Http(Section):
    """What `http_request` may call: everything public, or only `hosts`; nothing private but what `private` names."""

    hosts: list[str] = Field(
        default_factory=list[str], description="Where given, only these; a dot first: all below it."
    )
    private: list[str] = Field(
        default_factory=list[str], description="Hosts, host:port or networks like 10.0.0.0/8 that may be private."
    )
    max_bytes: int = Field(default=MEBIBYTE, ge=1)
    timeout_s: Seconds = Field(default=60.0, gt=0)


class Credential(Section):
    """A secret that `http_request` may send to its own hosts; nobody who names it sees it."""

    value: str = Field(description="A secret reference.")
    hosts: list[str] = Field(min_length=1, description="Only these get it; a dot first: all below it.")
    header: str = "Authorization"
    prefix: str = "Bearer "


class QueriedDatabase(Section):
    """A database that `sql_query` may ask; it reads unless `write` says otherwise."""

    url: str = Field(description="A secret reference to postgresql://… or sqlite:///path.")
    write: bool = False
    max_rows: int = Field(default=1000, ge=1)
    timeout_s: Seconds = Field(default=30.0, gt=0)


class Scripts(Section):
    """What `run_script` may use up. `required`: nothing runs where bubblewrap can't close the script in."""

    folder: Path = Field(default=Path("scripts"), description="Where scripts are; others are not run.")
    code: bool = Field(default=False, description="Whether code that comes as an argument may run too.")
    containment: Literal["required", "limits"] = "required"
    timeout_s: Seconds = Field(default=300.0, gt=0)
    memory_bytes: int = Field(default=512 * MEBIBYTE, ge=16 * MEBIBYTE)
    output_bytes: int = Field(default=MEBIBYTE, ge=1)
    file_bytes: int = Field(default=64 * MEBIBYTE, ge=1)
    processes: int = Field(default=32, ge=1)


class Actions(Section):
    """What actions may do, whoever asks."""

    allow: list[str] = Field(default_factory=lambda: ["*"], description="Names of the actions that may be carried out.")
    http: Http = Http()
    scripts: Scripts = Scripts()
    credentials: dict[str, Credential] = Field(default_factory=dict[str, Credential])
    databases: dict[str, QueriedDatabase] = Field(default_factory=dict[str, QueriedDatabase])
