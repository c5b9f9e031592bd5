"""What those parts of dagster.yaml share that need nothing said there: they have all from our own settings."""

from collections.abc import Mapping
from typing import Any, Self

from orchestration.warm.internals import ConfigurableClass, ConfigurableClassData


class Unconfigured(ConfigurableClass):
    """A part of dagster.yaml without a configuration of its own."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What dagster.yaml says."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of the section in dagster.yaml."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build from dagster.yaml."""
        del config_value
        return cls(inst_data)
