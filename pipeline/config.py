"""Settings: one frozen tree, read from a YAML file and then the environment. Nothing else in serving reads either.

    actionwire.yaml                        environment (wins)
    ---------------                        ------------------
    kafka:                                 ACTIONWIRE_KAFKA__BOOTSTRAP=broker:9092
      bootstrap: broker:9092               ACTIONWIRE_KAFKA__PASSWORD=...
    cameras:
      front-door:
        url: rtsp://viewer:${DOOR_PASSWORD}@10.0.0.7/stream1
    labels:
      - a person falls down

`${NAME}` in a camera's url is replaced from the environment, so a password need not stand in the file. Before the `@`
it is percent-encoded, so the variable holds a password as a person types it. Where the user's own folders lie is said
in `engines.folders`: the trainer keeps its things there too.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from pipeline.errors import ConfigurationError
from pipeline.records.labels import LONGEST_SECONDS, MOST_WINDOWS

DEFAULT_FILE = Path("actionwire.yaml")
IN_PROCESS = "in-process"
"""Value of `kafka.bootstrap` that asks for the broker inside this process."""

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LOGIN = re.compile(r"[^/?#]*://[^/?#]*@")
_NO_PATH = re.compile(r"[^/]*:(?!//)")
"""A colon before the first slash, and no `//` after it: of a protocol, a port or a login, and not of a path."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Frozen):
    """How to reach the cluster. The same for every client."""

    bootstrap: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    check_hostname: bool = True
    max_message_bytes: int = Field(default=1_000_000, ge=10_000)
    """Largest message that the cluster takes; larger frames are refused at ingest and counted."""


class TopicsSettings(_Frozen):
    """Names and sizes of the topics. Partition counts are never changed after creation."""

    namespace: str = Field(default="actionwire", pattern=r"^[a-zA-Z0-9-]{1,100}$")
    partitions: int = Field(default=64, ge=1, le=4096)
    replication: int = Field(default=1, ge=1)
    frames_retention_minutes: int = Field(default=30, ge=1)
    events_retention_days: int = Field(default=7, ge=1)

    def name(self, topic: Literal["frames", "events", "cameras", "control", "state", "dead"]) -> str:
        """Full name of a topic, for example `actionwire.frames`."""
        return f"{self.namespace}.{topic}"


class EventSettings(_Frozen):
    """When a score becomes an event. None means: as the bundle was calibrated."""

    enter: float | None = Field(default=None, gt=0, lt=1)
    exit: float | None = Field(default=None, gt=0, lt=1)
    confirm: int | None = Field(default=None, ge=1, le=MOST_WINDOWS)
    backtrack_seconds: float | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    min_seconds: float | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    merge_seconds: float | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    cooldown_seconds: float | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    max_seconds: float | None = Field(default=None, gt=0, le=LONGEST_SECONDS)


class LabelSettings(EventSettings):
    """One action to watch for: its text, and where its events differ from the defaults."""

    text: str = Field(min_length=1, max_length=300)
    id: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    """Stable name of the label in events; made from the text when absent."""
    group: str | None = None
    """Labels of one group compete with each other; `all` on every label is ActionCLIP's softmax."""
    cameras: tuple[str, ...] = ("*",)
    """Ids or globs of the cameras that are watched for this label."""


def _label(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class CameraSettings(_Frozen):
    """One video source."""

    url: SecretStr
    """rtsp://..., a path of a file, or /dev/videoN. Secret, because it may hold a password.

    `${NAME}` takes a value from the environment. Before the `@` the value is percent-encoded, but for a colon, so it
    may be a password or user:password as they are; elsewhere it goes in unchanged.
    """
    transport: Literal["tcp", "udp"] = "tcp"
    priority: int = Field(default=0)
    """Under overload cameras of lower priority are shed first."""
    loop: bool = False
    """Files only: start again at the end."""

    @field_validator("url", mode="before")
    @classmethod
    def _from_environment(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        missing = [name for name in _REFERENCE.findall(value) if name not in os.environ]
        if missing:
            raise ValueError(f"the url refers to ${{{missing[0]}}}, which is not set in the environment; set it first")
        login = _LOGIN.match(value)

        def filled(found: re.Match[str]) -> str:
            text = os.environ[found.group(1)]
            return quote(text, safe=":") if login and found.end() <= login.end() else text

        return _REFERENCE.sub(filled, value)

    @field_validator("url")
    @classmethod
    def _url_or_path(cls, value: SecretStr) -> SecretStr:
        """Refuse what was meant as one and would be read as the other."""
        text = value.get_secret_value()
        if text.lower().startswith("file:"):
            raise ValueError("the url of a file is its path; leave file: out")
        if _NO_PATH.match(text):
            form = "write rtsp://user:password@host/path, or ./ before the name of a file"
            raise ValueError(f"the url has a colon, as after a protocol or in a login, but no rtsp://; {form}")
        return value


class IngestSettings(_Frozen):
    """From camera to frames topic."""

    short_side: int = Field(default=256, ge=32, le=2160)
    """Frames are scaled down to this many pixels on their shorter side; never up."""
    jpeg_quality: int = Field(default=85, ge=30, le=100)
    in_flight_seconds: float = Field(default=3.0, gt=0)
    """Frames waiting for the broker per camera, in seconds of stream; beyond that the oldest is dropped and counted."""
    open_seconds: float = Field(default=5.0, gt=0)
    stall_seconds: float = Field(default=5.0, gt=0)
    """A camera that gives no frame for this long is reconnected."""
    backoff_seconds: float = Field(default=0.5, gt=0)
    backoff_max_seconds: float = Field(default=30.0, gt=0)
    clock_tolerance_seconds: float = Field(default=5.0, gt=0)
    """A camera's clock further off than this is not used."""
    lost_seconds: float = Field(default=60.0, gt=0)
    """A camera that is away for this long is ended."""
    status_seconds: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _stalled_before_lost(self) -> IngestSettings:
        if self.lost_seconds < self.stall_seconds:
            raise ValueError("lost_seconds is below stall_seconds: a camera would be ended before it is tried again")
        return self


class WorkerSettings(_Frozen):
    """From frames topic to events topic."""

    bundle: str = "demo"
    """Name in the store, path of a bundle directory, or `demo`.

    With a bare name workers follow the store and take up, while they run, whichever version becomes current;
    NAME@VERSION and a path stay what they are.
    """
    backend: Literal["auto", "openvino", "onnxruntime", "tensorrt"] = "auto"
    device: str = "CPU"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(default=0, ge=0)
    """Threads of the inference runtime; 0 lets it choose."""
    decode_threads: int = Field(default=2, ge=1)
    group: str = "actionwire-worker"
    slot: str | None = None
    """Stable name of this worker for its transactional id; made from host and process when absent."""
    batch_frames: int = Field(default=8, ge=1, le=1024)
    batch_milliseconds: int = Field(default=20, ge=0)
    """A smaller batch is run when its oldest frame has waited this long."""
    queue_batches: int = Field(default=4, ge=1)
    poll_records: int = Field(default=128, ge=1)
    rewind_seconds: float = Field(default=20.0, gt=0)
    commit_seconds: float = Field(default=1.0, gt=0)
    lost_seconds: float = Field(default=60.0, gt=0)
    """A camera that is silent for this long while its partition is read to the end is ended by its owner."""
    session_seconds: float = Field(default=10.0, ge=6)
    overload: Literal["shed", "queue"] = "shed"
    """When there is more to do than time: analyse less, and count it, or fall behind and analyse everything."""
    start: Literal["live", "begin"] = "live"
    """Where a partition without a committed position starts."""


class HttpSettings(_Frozen):
    """Where /metrics, /live and /ready are served. Port 0 picks a free one, None serves nothing."""

    host: str = "127.0.0.1"
    worker_port: int | None = 9401
    ingest_port: int | None = 9402
    per_camera_metrics: int = Field(default=0, ge=0)
    """Per-camera series for at most this many cameras; 0 for none."""


class LogSettings(_Frozen):
    """How to log. `console` for people, `json` for machines."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """Every setting of the serving side."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="ACTIONWIRE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    source: str = "/actionwire"
    """CloudEvents source of the events, a URI reference that names this deployment."""
    rate: int = Field(default=4, ge=1, le=60)
    """Sampled frames per second of every camera."""
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicsSettings = TopicsSettings()
    cameras: dict[Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}$")], CameraSettings] = {}
    labels: tuple[Annotated[LabelSettings, BeforeValidator(_label)], ...] = ()
    events: EventSettings = EventSettings()
    ingest: IngestSettings = IngestSettings()
    worker: WorkerSettings = WorkerSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content arrives as arguments."""
        return env_settings, init_settings


def watches(patterns: tuple[str, ...], camera: str) -> bool:
    """True when one of a label's ids or globs names this camera."""
    return any(fnmatchcase(camera, pattern) for pattern in patterns)


def source_file(path: Path | None = None) -> Path | None:
    """The settings file in force: `path`, else $ACTIONWIRE_CONFIG, else ./actionwire.yaml where it exists."""
    if path is None and (named := os.environ.get("ACTIONWIRE_CONFIG")):
        return Path(named)
    return path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def load(path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Read the settings: the file of `source_file`, then the environment.

    overrides: values of command-line options by section, for example {"kafka": {"bootstrap": "in-process"}}; they win.
    Raises ConfigurationError that names the key, the reason and, for a misspelt key, the nearest right one.
    """
    chosen = source_file(path)
    document = _filled_sections(read_document(chosen)) if chosen else {}
    where = str(chosen or "the environment")
    try:
        settings = Settings(**document)
        for section, values in (overrides or {}).items():
            if values:
                current = getattr(settings, section)
                merged = type(current).model_validate({**current.model_dump(), **values})
                settings = settings.model_copy(update={section: merged})
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {_explain(error)}") from None
    except SettingsError as error:
        raise ConfigurationError(f"the environment: {_not_json(error)}") from None
    return settings


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: the second would replace the first without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Look at the keys as they are written, before `<<` brings others in."""
        node = super().compose_mapping_node(anchor)
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        seen: set[tuple[str, str]] = set()
        for key in scalars:
            if (key.tag, key.value) in seen:
                problem, remedy = f"the key {key.value!r} stands twice", "rename one of them, or take it out"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark, note=remedy)
            seen.add((key.tag, key.value))
        return node


def read_document(path: Path) -> dict[str, Any]:
    """Parse a YAML file that holds a mapping. Raises ConfigurationError with line and column."""
    try:
        document = yaml.load(path.read_text(), _EachKeyOnce)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; name another file with --config") from error
    except yaml.MarkedYAMLError as error:
        # the mark's snippet is left out: the line may hold a password
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        remedy = f"; {error.note}" if error.note else ""
        raise ConfigurationError(f"{path} is not YAML: {error.problem}{where}{remedy}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} is not YAML: it holds characters that are not text") from None
    except ValueError:
        remedy = "put it in quotes"
        raise ConfigurationError(f"{path}: a value looks like a date or a number and is none; {remedy}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must hold a mapping such as 'cameras:', not a {type(document).__name__}")
    odd = [key for key in document if not isinstance(key, str)]
    if odd:
        raise ConfigurationError(f"{path}: {odd[0]} is no section such as 'cameras'; is its line indented too little?")
    return document


def _filled_sections(document: dict[str, Any]) -> dict[str, Any]:
    """Without the sections that hold nothing: `cameras:` stays behind where somebody deletes the last camera."""
    return {key: value for key, value in document.items() if value is not None or key not in Settings.model_fields}


def _not_json(error: SettingsError) -> str:
    """Which variable should hold a whole section and does not; what it holds is left out, it may be a secret."""
    section = re.search(r'field "(\w+)"', str(error))
    if section is None:
        return "the variable of a section holds no JSON; write JSON, or one key as ACTIONWIRE_SECTION__KEY"
    name = f"ACTIONWIRE_{section[1].upper()}"
    if isinstance(Settings.model_fields[section[1]].default, tuple):
        return f"{name} holds no JSON; write a list such as '[\"a person falls down\"]'"
    return f"{name} holds no JSON; write the section as JSON, or one of its keys as {name}__KEY"


def _explain(error: ValidationError) -> str:
    """Every problem in words; input values are left out, they may be secrets."""
    return "; ".join(_problem(found["loc"], found["type"], found["msg"]) for found in error.errors(include_input=False))


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(str(part) for part in location if part != "[key]")
    if kind != "extra_forbidden":
        return f"{name}: {message.removeprefix('Value error, ')}"
    near = difflib.get_close_matches(str(location[-1]), _keys(location[:-1]), n=1)
    return f"{name}: unknown key" + (
        f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(_keys(location[:-1]))}"
    )


def _keys(location: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {"cameras": CameraSettings, "labels": LabelSettings}
    if not location:
        return sorted(Settings.model_fields)
    first = str(location[0])
    if first in models:
        return sorted(models[first].model_fields)
    kind = Settings.model_fields[first].annotation if first in Settings.model_fields else None
    return sorted(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
