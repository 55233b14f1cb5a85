"""`actionwire labels add TEXT`: an action to watch for from now on, with the thresholds of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.analysis.label_set import make
from pipeline.broker import control_topic
from pipeline.commands.labels import SECONDS, add_label, open_control, require_readable
from pipeline.commands.options import Bootstrap, ConfigFile
from pipeline.config.labels import LabelSettings
from pipeline.config.section import documentation

_SENTENCES = documentation(LabelSettings)
"""What each key of a label means, as the settings reference says it."""


def add(
    text: Annotated[str, typer.Argument(help='The action in plain words: "a person falls down".')],
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="Camera id or glob; repeatable. Default: all.")
    ] = None,
    label_id: Annotated[
        str | None, typer.Option("--id", help="Stable name in events; made from the text by default.")
    ] = None,
    group: Annotated[str | None, typer.Option(help=_SENTENCES["group"])] = None,
    enter: Annotated[float | None, typer.Option(help=_SENTENCES["enter"])] = None,
    exit: Annotated[float | None, typer.Option(help=_SENTENCES["exit"])] = None,
    confirm: Annotated[int | None, typer.Option(help=_SENTENCES["confirm"])] = None,
    backtrack_seconds: Annotated[float | None, typer.Option(help=_SENTENCES["backtrack_seconds"])] = None,
    min_seconds: Annotated[float | None, typer.Option(help=_SENTENCES["min_seconds"])] = None,
    merge_seconds: Annotated[float | None, typer.Option(help=_SENTENCES["merge_seconds"])] = None,
    cooldown_seconds: Annotated[float | None, typer.Option(help=_SENTENCES["cooldown_seconds"])] = None,
    max_seconds: Annotated[float | None, typer.Option(help=_SENTENCES["max_seconds"])] = None,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Watch for an action from now on. Adding the same text again replaces its settings.

    A text in words that the workers' bundle does not know is refused.
    """
    label = make(
        {
            "text": text,
            "id": label_id,
            "group": group,
            "cameras": camera or None,
            "enter": enter,
            "exit": exit,
            "confirm": confirm,
            "backtrack_seconds": backtrack_seconds,
            "min_seconds": min_seconds,
            "merge_seconds": merge_seconds,
            "cooldown_seconds": cooldown_seconds,
            "max_seconds": max_seconds,
        }
    )
    with open_control(config, bootstrap) as (broker, topic, settings):
        require_readable(settings, control_topic.read(broker, topic, SECONDS), [label])
        version = add_label(broker, topic, label)
    typer.echo(f"watching for {label.text!r} as {label.id}, label set {version}")
