"""`actionwire labels add | remove | list | apply | try`: change what is watched for while everything runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.analysis.label_set import LabelSets, added, collect, in_force, make, removed
from pipeline.broker import connect, control_topic
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of
from pipeline.commands.options import Bootstrap, ConfigFile, Json, settings_from
from pipeline.commands.try_label import try_label
from pipeline.config.labels import LabelSettings
from pipeline.config.reading import load_file
from pipeline.records.labels import THRESHOLDS, Label, label_document

labels = typer.Typer(
    help="Which actions are watched for; changes are in force within two seconds.", no_args_is_help=True
)

SECONDS = 10.0
"""How long a command waits for the broker."""


def _sentence(name: str) -> str | None:
    """What a key of a label means, as the settings reference says it."""
    return LabelSettings.model_fields[name].description


@labels.command()
def add(
    text: Annotated[str, typer.Argument(help='The action in plain words: "a person falls down".')],
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="Camera id or glob; repeatable. Default: all.")
    ] = None,
    label_id: Annotated[
        str | None, typer.Option("--id", help="Stable name in events; made from the text by default.")
    ] = None,
    group: Annotated[str | None, typer.Option(help=_sentence("group"))] = None,
    enter: Annotated[float | None, typer.Option(help=_sentence("enter"))] = None,
    exit: Annotated[float | None, typer.Option(help=_sentence("exit"))] = None,
    confirm: Annotated[int | None, typer.Option(help=_sentence("confirm"))] = None,
    backtrack_seconds: Annotated[float | None, typer.Option(help=_sentence("backtrack_seconds"))] = None,
    min_seconds: Annotated[float | None, typer.Option(help=_sentence("min_seconds"))] = None,
    merge_seconds: Annotated[float | None, typer.Option(help=_sentence("merge_seconds"))] = None,
    cooldown_seconds: Annotated[float | None, typer.Option(help=_sentence("cooldown_seconds"))] = None,
    max_seconds: Annotated[float | None, typer.Option(help=_sentence("max_seconds"))] = None,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Watch for an action from now on. Adding the same text again replaces its settings."""
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
    with _control(config, bootstrap) as (broker, topic):
        version = add_label(broker, topic, label)
    typer.echo(f"watching for {label.text!r} as {label.id}, label set {version}")


@labels.command()
def remove(
    name: Annotated[str, typer.Argument(help="Text or id of the label.")],
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Stop watching for an action that was added. Its open events end."""
    with _control(config, bootstrap) as (broker, topic):
        version, again = remove_label(broker, topic, name)
    if again:
        typer.echo(
            f"{name!r} is watched for as the settings say again, label set {version}; to end it remove it there, then "
            "`actionwire labels apply FILE`"
        )
    else:
        typer.echo(f"no longer watching for {name!r}, label set {version}")


@labels.command("list")
def list_labels(as_json: Json = False, config: ConfigFile = None, bootstrap: Bootstrap = None) -> None:
    """Show the labels in force and where each comes from."""
    with _control(config, bootstrap) as (broker, topic):
        sets = control_topic.read(broker, topic, SECONDS)
    if as_json:
        typer.echo(json.dumps(listing(sets), indent=2, ensure_ascii=False))
    else:
        Console(markup=False).print(table(sets))


@labels.command()
def apply(
    file: Annotated[Path, typer.Argument(help="Settings file; only its `labels` count.", exists=True, dir_okay=False)],
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Put the labels of a settings file in force, in place of those applied before. Labels that were added stay."""
    wanted = collect(make(label.model_dump()) for label in load_file(file).labels)
    with _control(config, bootstrap) as (broker, topic):
        sets = control_topic.apply_config(broker, topic, wanted, SECONDS)
    typer.echo(f"{len(wanted)} labels of {file} are in force, label set {sets.version}")


def add_label(broker: Broker, topic: str, label: Label) -> int:
    """Add a label and return the version that is in force with it. Raises ConfigurationError where its id is taken."""
    return control_topic.write(broker, topic, [added(control_topic.read(broker, topic, SECONDS), label)], SECONDS)


def remove_label(broker: Broker, topic: str, name: str) -> tuple[int, bool]:
    """Remove a live label by text or id. Raises ConfigurationError where that cannot be.

    Returns the version that is in force without it, and whether a label of the settings shows again that it hid.
    """
    sets = control_topic.read(broker, topic, SECONDS)
    record = removed(sets, name)
    return control_topic.write(broker, topic, [record], SECONDS), any(label.id == record.id for label in sets.config)


def listing(sets: LabelSets) -> dict[str, Any]:
    """The labels in force as a JSON document; `source` is `config` or `live`."""
    live = {label.id for label in sets.live}
    found = in_force(sets)
    documents = [
        {**label_document(label), "source": "live" if label.id in live else "config"} for label in found.labels
    ]
    return {"version": found.version, "labels": documents}


def table(sets: LabelSets) -> Table:
    """The labels in force for people."""
    shown = Table("id", "text", "cameras", "group", "settings", "source", title=f"label set {sets.version}")
    for label in listing(sets)["labels"]:
        own = ", ".join(f"{name} {label[name]}" for name in THRESHOLDS if name in label)
        shown.add_row(
            label["id"], label["text"], " ".join(label["cameras"]), label.get("group", ""), own, label["source"]
        )
    return shown


@contextmanager
def _control(config: Path | None, bootstrap: str | None) -> Iterator[tuple[Broker, str]]:
    """The broker and the name of its control topic, which must exist."""
    settings = settings_from(config, bootstrap)
    topic = settings.topics.name("control")
    with closing(connect(settings.kafka)) as broker:
        partitions_of(broker, topic, SECONDS)
        yield broker, topic


labels.command("try")(try_label)
