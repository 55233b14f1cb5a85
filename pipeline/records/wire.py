"""What every record shares: messages, partitions, instants and JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from engines.strict_json import parse_json, short
from pipeline.errors import BadRecordError
from pipeline.records.fields import MAX_CAMERA_ID

Headers: TypeAlias = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message to be sent. `partition` None means: by hash of the key (murmur2, as every Kafka client)."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A message as it was read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int = 0

    @property
    def source(self) -> Partition:
        """The partition that this record was read from."""
        return Partition(self.topic, self.partition)


def iso(instant_ns: int) -> str:
    """RFC 3339 in UTC with milliseconds (rounded down): 2026-11-21T03:41:00.250Z."""
    seconds, rest = divmod(instant_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest // 1_000_000:03d}Z"


def nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 instant as written by `iso`. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"no instant such as 2026-11-21T03:41:00Z: {short(text)}") from None
    if moment.tzinfo is None:
        raise ValueError(f"instant without a time zone: {short(text)}")
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def plain(value: Any) -> dict[str, Any]:
    """The fields of a flat dataclass as a dict."""
    return {part.name: getattr(value, part.name) for part in fields(value)}


def json_object(value: bytes | None, what: str) -> dict[str, Any]:
    """Parse a JSON object as `engines.strict_json` does. Raises BadRecordError that names `what`."""
    try:
        document = parse_json(value or b"")
    except ValueError as error:
        raise BadRecordError("json", f"{what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadRecordError("json", f"{what} is not a JSON object")
    return document


def json_object_of_schema(value: bytes | None, schema: int, what: str) -> dict[str, Any]:
    """Parse a JSON object that must say that it is of this schema. Raises BadRecordError that names `what`."""
    document = json_object(value, what)
    require_schema(document, schema, what)
    return document


def require_schema(document: Mapping[str, Any], schema: int, what: str) -> None:
    """Raise BadRecordError that names `what` where a document does not say that it is of this schema."""
    found = document.get("schema")
    if type(found) is not int or found != schema:
        raise BadRecordError("schema", f"{what} of schema {short(found)}, expected {schema}")


def camera_of(key: bytes | None) -> str:
    """The camera id that a record has as its key. Raises BadRecordError."""
    try:
        camera = (key or b"").decode()
    except UnicodeDecodeError:
        raise BadRecordError("key", f"camera id is not UTF-8: {short(key)}") from None
    if not camera:
        raise BadRecordError("key", "record without a camera id as its key")
    if len(camera) > MAX_CAMERA_ID:
        raise BadRecordError("range", f"camera id of {len(camera)} characters, at most {MAX_CAMERA_ID} are taken")
    return camera
