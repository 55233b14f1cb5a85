"""What every section of the settings is made of.

The string below a field is its documentation: `actionwire settings` prints its first paragraph. It is read from the
source when somebody asks for it, since most commands never do. For the same reason a section's checks are built when
they are first used, most of them as parts of the tree's.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


def documentation(model: type[BaseModel]) -> Mapping[str, str]:
    """The string below each field of a model, those of its bases included, by the name of the field."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and not kind.__module__.startswith("pydantic"):
            found |= _strings_below(kind)
    return found


def _strings_below(kind: type[BaseModel]) -> dict[str, str]:
    definition = next(ast.iter_child_nodes(ast.parse(textwrap.dedent(inspect.getsource(kind)))))
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(ast.iter_child_nodes(definition))
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a number, put into its annotation."""

    name: str


Seconds: TypeAlias = Annotated[float, Unit("seconds")]
Score: TypeAlias = Annotated[float, Unit("probability")]
