"""What every table of the settings file is made of; `settings` puts the tables together."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=0, le=65_535)]


class Section(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid")
