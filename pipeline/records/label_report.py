"""What workers can make of the labels in force: a record of the control topic, key `report/<group>`.

It decides no event. Whoever lists labels sees which of them are refused and why, whoever adds one knows which bundle
must read it, and ingest knows which pictures that bundle takes. The newest of any worker of the group stands: they run
the same bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from engines.canonical import canonical_json
from engines.strict_json import short
from pipeline.errors import BadRecordError
from pipeline.records.fields import AtLeastOne, Count, LabelId, LabelsVersion, Name, Text, checked
from pipeline.records.wire import Message, json_object_of_schema, plain

REPORT_SCHEMA = 1
REPORT_PREFIX = "report/"
MOST_REASONS = 100
"""Refused labels that a report names; it counts them all."""


Filter: TypeAlias = Literal["area", "bicubic", "bilinear"]
Crop: TypeAlias = Literal["squash", "centre"]


@dataclass(frozen=True, slots=True)
class PictureForm:
    """The pictures that a bundle takes; an `engines.preprocess.Form`."""

    width: AtLeastOne
    height: AtLeastOne
    resize: Filter
    crop: Crop


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What the workers of a consumer group can make of a label set."""

    group: Name
    bundle: Name
    """Id of the bundle that they run."""
    name: Name
    version: Name
    labels_version: LabelsVersion
    """The label set that this is about."""
    refused: tuple[tuple[LabelId, Text], ...] = ()
    """Id of each label that cannot be watched for, and the reason; at most `MOST_REASONS`, ordered by id."""
    refused_count: Count = 0
    """How many there are."""
    input: PictureForm | None = None
    """None: a worker of an older version, which did not say."""


def is_report(key: bytes | None) -> bool:
    """True for the key of a report."""
    return (key or b"").startswith(REPORT_PREFIX.encode())


def encode_report(report: LabelReport) -> Message:
    """Put a report into wire form. Equal reports have equal bytes."""
    document = {
        "schema": REPORT_SCHEMA,
        "bundle": {"id": report.bundle, "name": report.name, "version": report.version},
        "labels_version": report.labels_version,
        "refused": [{"id": label, "reason": reason} for label, reason in report.refused[:MOST_REASONS]],
        "refused_count": report.refused_count,
        **({"input": plain(report.input)} if report.input else {}),
    }
    return Message((REPORT_PREFIX + report.group).encode(), canonical_json(document), partition=0)


def decode_report(key: bytes | None, value: bytes | None) -> LabelReport:
    """Read a report. Raises BadRecordError: another schema, a field that is missing or of another type."""
    try:
        group = (key or b"").decode().removeprefix(REPORT_PREFIX)
    except UnicodeDecodeError:
        raise BadRecordError("key", f"label report under a key that is not UTF-8: {short(key)}") from None
    what = f"label report of {short(group)}"
    document = json_object_of_schema(value, REPORT_SCHEMA, what)
    bundle, refused = document.get("bundle"), document.get("refused")
    if not isinstance(bundle, dict):
        raise BadRecordError("fields", f"{what}: 'bundle' must be an object")
    if not isinstance(refused, list) or not all(isinstance(one, dict) for one in refused):
        raise BadRecordError("fields", f"{what}: 'refused' must be a list of objects")
    fields: dict[str, Any] = {
        **{name: document[name] for name in ("labels_version", "refused_count", "input") if name in document},
        "group": group,
        "bundle": bundle.get("id"),
        "name": bundle.get("name"),
        "version": bundle.get("version"),
        "refused": tuple((one.get("id"), one.get("reason")) for one in refused[:MOST_REASONS]),
    }
    return checked(LabelReport, fields, what)
