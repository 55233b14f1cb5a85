"""The wire formats as JSON Schema 2020-12, for subscribers in any language."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Literal, TypeAlias, cast

SchemaName: TypeAlias = Literal["event", "frame", "camera-status", "label-set"]
NAMES: tuple[SchemaName, ...] = ("event", "frame", "camera-status", "label-set")


def schema(name: SchemaName) -> dict[str, Any]:
    """One of the schemas, parsed."""
    return cast(dict[str, Any], json.loads(files(__name__).joinpath(f"{name}.schema.json").read_text()))
