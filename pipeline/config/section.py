"""What every section of the settings is made of.

The string below a field is its documentation: `actionwire settings` prints its first paragraph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a number, put into its annotation."""

    name: str


Seconds: TypeAlias = Annotated[float, Unit("seconds")]
Score: TypeAlias = Annotated[float, Unit("probability")]
