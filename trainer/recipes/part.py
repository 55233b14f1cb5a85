"""The base of every part of a recipe."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of a recipe: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def by(field: str, otherwise: str) -> Discriminator:
    """Choose among the parts of a union by a field, and `otherwise` where a recipe leaves it out."""

    def name(given: Any) -> str:
        return str(given.get(field, otherwise) if isinstance(given, dict) else getattr(given, field, otherwise))

    return Discriminator(name)
