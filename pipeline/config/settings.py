"""The whole tree of settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.config import secrets
from pipeline.config.cameras import CameraSettings
from pipeline.config.http import HttpSettings
from pipeline.config.ingest import IngestSettings
from pipeline.config.kafka import KafkaSettings
from pipeline.config.labels import EventSettings, LabelSettings, check_merged, label_or_text
from pipeline.config.log import LogSettings
from pipeline.config.section import Unit
from pipeline.config.topics import TopicsSettings
from pipeline.config.worker import WorkerSettings

PREFIX = "ACTIONWIRE_"
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")


class Settings(BaseSettings):
    """Every setting of the serving side."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    secrets: Path | None = None
    """Folder in which each file is a secret, named as its variable would be; null takes /run/secrets, if it exists."""
    source: str = "/actionwire"
    """CloudEvents source of the events: a URI reference that names this deployment."""
    rate: Annotated[int, Unit("frames per second")] = Field(default=4, ge=1, le=60)
    """How often every camera is sampled."""
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicsSettings = TopicsSettings()
    cameras: dict[Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}$")], CameraSettings] = Field(
        default={}, examples=["front-door"]
    )
    """The cameras, by id."""
    labels: tuple[Annotated[LabelSettings, BeforeValidator(label_or_text)], ...] = ()
    """The actions to watch for. Without this section the labels in force stay; an empty list ends those of a file.

    Edits take effect while ingest or a worker runs. A process that merely starts puts no labels back that were in force
    before and were replaced.
    """
    events: EventSettings = EventSettings()
    ingest: IngestSettings = IngestSettings()
    worker: WorkerSettings = WorkerSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @field_validator("source")
    @classmethod
    def _is_a_uri_reference(cls, source: str) -> str:
        """CloudEvents asks for one, not empty (RFC 3986)."""
        if not _URI_REFERENCE.fullmatch(source):
            signs = "letters a-z, digits and signs; write others, and blanks, as %XX"
            raise ValueError(f"it is no URI reference, which has {signs}, such as /gr%C3%B6%C3%9Fe%20halle")
        return source

    @property
    def names_labels(self) -> bool:
        """True where the section `labels` is there, be it empty; else the labels in force are left alone."""
        return "labels" in self.model_fields_set

    @model_validator(mode="after")
    def _labels_agree_with_events(self) -> Settings:
        check_merged(self.events, self.labels)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over secrets, these over the file, whose content arrives as arguments."""
        if isinstance(env_settings, EnvSettingsSource):
            kept = secrets.settings_in(secrets.folder(), PREFIX.lower())
            env_settings.env_vars = {**kept, **env_settings.env_vars}
        return env_settings, init_settings


class SettingsOfFile(Settings):
    """The same tree, read from a file alone: the environment plays no part."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file, whose content arrives as arguments."""
        return (init_settings,)
