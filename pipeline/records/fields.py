"""The types of what travels: one name for each kind of value, with the range that it must have.

Records are plain dataclasses whose annotations are these names. Making one checks nothing, since a worker makes
millions. A decoder calls `checked`, which holds what a stranger wrote to the annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.errors import BadRecordError

LATEST_NS = 2**62
"""Instants end in the year 2116: what lies beyond is forged, and arithmetic on it would overflow."""
LATEST_SECONDS = LATEST_NS // 1_000_000_000
LATEST_SESSION = LATEST_NS // 1_000_000
"""Sessions are named by wall time in ms."""
MAX_CAMERA_ID = 200
"""Characters of a camera id; the settings allow no more than 100."""
MAX_RATE = 1000
"""Ticks per second of a grid; the settings allow no more than 60."""
LONGEST_TEXT = 300
"""Characters of a label's text, its group, and an id or glob of a camera."""
LONGEST_SECONDS = 1e9
"""Thirty years: as good as no limit, and its number of ticks still fits into 64 bits."""
MOST_WINDOWS = 1_000_000
LABEL_ID = r"^[a-z0-9][a-z0-9-]{0,63}$"

_NEVER = -(2**63)

Flag: TypeAlias = Annotated[bool, Field(strict=True)]
Text: TypeAlias = Annotated[str, Field(strict=True)]
Name: TypeAlias = Annotated[str, Field(strict=True, min_length=1, max_length=1000)]
CameraId: TypeAlias = Annotated[str, Field(strict=True, min_length=1, max_length=MAX_CAMERA_ID)]
LabelId: TypeAlias = Annotated[str, Field(strict=True, pattern=LABEL_ID)]
LabelText: TypeAlias = Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_TEXT)]
EventId: TypeAlias = Annotated[
    str, Field(strict=True, pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]

Count: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
AtLeastOne: TypeAlias = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
PartitionNumber: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Offset: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=2**62)]
LabelsVersion: TypeAlias = Annotated[int, Field(strict=True, ge=-1, lt=2**62)]
Session: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=LATEST_SESSION)]
Rate: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=MAX_RATE)]
Priority: TypeAlias = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Milliseconds: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=LATEST_SESSION)]
Instant: TypeAlias = Annotated[int, Field(strict=True, gt=-LATEST_NS, lt=LATEST_NS)]
"""Nanoseconds since 1970. An event at the first ticks of a grid may have begun before them."""
Tick: TypeAlias = Annotated[int, Field(strict=True, ge=_NEVER, le=LATEST_SECONDS * MAX_RATE)]
"""Number of a tick on a grid; the rate decides which instant it is."""

Probability: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Score: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1.001, allow_inf_nan=False)]
"""A probability as it was computed, in single precision: a sum of shares may come out a little above one."""
NotNegative: TypeAlias = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Positive: TypeAlias = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Finite: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]

Kind = TypeVar("Kind")


def checked(kind: type[Kind], fields: Mapping[str, Any], what: str) -> Kind:
    """Make a record from what a stranger wrote; unknown fields are ignored.

    Raises BadRecordError that names `what` and the first field of another type or out of range.
    """
    try:
        return cast(Kind, _adapter(kind).validate_python(dict(fields)))  # type: ignore[arg-type]
    except ValidationError as error:
        fault, *others = error.errors(include_url=False, include_input=False, include_context=False)
        where = ".".join(str(step) for step in fault["loc"])
        more = f" (and {len(others)} more)" if others else ""
        raise BadRecordError("fields", f"{what}: {where}: {fault['msg']}{more}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """The table of a record: its annotations, made into a check once it is needed."""
    return TypeAdapter(kind)
