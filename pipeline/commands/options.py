"""Options that several commands share, and the settings that result from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError

ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file; else $ACTIONWIRE_CONFIG, else ./actionwire.yaml."),
]
Bootstrap: TypeAlias = Annotated[
    str | None,
    typer.Option("--bootstrap", "-b", metavar="HOST:PORT", help="Kafka cluster to use; wins over the settings."),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]


def writable(file: Path) -> None:
    """Check that a file can be written before any work is done. Raises ConfigurationError."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise ConfigurationError(f"{file} cannot be written: there is no folder {folder}; make it first")
    if file.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise ConfigurationError(f"{file} cannot be written; name another file, or change its permissions")


def settings_from(config: Path | None, bootstrap: str | None = None, **sections: dict[str, Any]) -> Settings:
    """Read the settings; the options of a command win over them.

    sections: option values by section of the settings; those that are None are left out. Raises ConfigurationError.
    """
    overrides = {name: {k: v for k, v in values.items() if v is not None} for name, values in sections.items()}
    if bootstrap is not None:
        overrides["kafka"] = {**overrides.get("kafka", {}), "bootstrap": bootstrap}
    return load(config, overrides)
