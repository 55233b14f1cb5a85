"""`actionwire settings`: every key that a settings file may hold."""

from __future__ import annotations

import json

import typer

from pipeline.commands.options import Json


def settings(as_json: Json = False) -> None:
    """Print every setting with its default, type, unit and meaning, as a settings file to start from.

    The output is YAML that changes nothing when it is read back. Cameras and labels are examples in comments. Any key
    of a section can be set in the environment as well: ACTIONWIRE_SECTION__KEY, for example ACTIONWIRE_LOG__LEVEL.
    """
    from pipeline.config.reference import as_document, as_yaml

    typer.echo(json.dumps(as_document(), indent=2) if as_json else as_yaml(), nl=as_json)
