"""What workers can make of the labels in force: a record of the control topic, key `report/<group>`.

It decides nothing. Whoever lists labels sees which of them are refused and why, and whoever adds one knows which bundle
must read it. The newest of any worker of the group stands: they run the same bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engines.canonical import canonical_json
from pipeline.errors import BadRecordError
from pipeline.records.wire import Message, json_object

REPORT_SCHEMA = 1
REPORT_PREFIX = "report/"
MOST_REASONS = 100
"""Refused labels that a report names; it counts them all."""


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What the workers of a consumer group can make of a label set."""

    group: str
    bundle: str
    """Id of the bundle that they run."""
    name: str
    version: str
    labels_version: int
    """The label set that this is about."""
    refused: tuple[tuple[str, str], ...] = ()
    """Id of each label that cannot be watched for, and the reason; at most `MOST_REASONS`, ordered by id."""
    refused_count: int = 0
    """How many there are."""


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
    }
    return Message((REPORT_PREFIX + report.group).encode(), canonical_json(document), partition=0)


def decode_report(key: bytes | None, value: bytes | None) -> LabelReport:
    """Read a report. Raises BadRecordError: another schema, a field that is missing or of another type."""
    try:
        group = (key or b"").decode().removeprefix(REPORT_PREFIX)
    except UnicodeDecodeError as error:
        raise BadRecordError("key", "report under a key that is not UTF-8") from error
    document = json_object(value, "label report")
    if document.get("schema") != REPORT_SCHEMA:
        raise BadRecordError("schema", f"label report of an unknown schema, expected {REPORT_SCHEMA}")
    bundle, refused = document.get("bundle"), document.get("refused")
    if not isinstance(bundle, dict) or not isinstance(refused, list):
        raise BadRecordError("fields", "label report without a bundle or a list of what is refused")
    return LabelReport(
        group,
        _text(bundle, "id"),
        _text(bundle, "name"),
        _text(bundle, "version"),
        _whole(document, "labels_version"),
        tuple((_text(one, "id"), _text(one, "reason")) for one in refused[:MOST_REASONS]),
        _whole(document, "refused_count"),
    )


def _text(document: Any, name: str) -> str:
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, str):
        raise BadRecordError("fields", f"label report: {name!r} must be a text")
    return found


def _whole(document: dict[str, Any], name: str) -> int:
    found = document.get(name)
    if type(found) is not int or not -1 <= found < 2**62:
        raise BadRecordError("fields", f"label report: {name!r} must be a whole number, at least -1")
    return found
