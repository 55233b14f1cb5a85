"""`actionwire labels add | remove | list | apply | try`: change what is watched for while everything runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engines.errors import EngineError
from pipeline.analysis.label_set import LabelSets, added, in_force, removed
from pipeline.broker import connect, control_topic
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of
from pipeline.commands.lazy_group import LazyCommand, group_of
from pipeline.commands.options import Bootstrap, ConfigFile, Json, settings_from
from pipeline.config.reading import load_file
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.records.labels import THRESHOLDS, Label, label_document

if TYPE_CHECKING:
    from rich.table import Table

LABEL_COMMANDS = {
    "add": LazyCommand("pipeline.commands.add_label", "add", "Watch for an action from now on."),
    "remove": LazyCommand("pipeline.commands.labels", "remove", "Stop watching for an action that was added."),
    "list": LazyCommand("pipeline.commands.labels", "list_labels", "Show the labels in force."),
    "apply": LazyCommand("pipeline.commands.labels", "apply", "Put the labels of a settings file in force."),
    "try": LazyCommand("pipeline.commands.try_label", "try_label", "Print how a text scores on a camera."),
}

labels = typer.Typer(
    cls=group_of(LABEL_COMMANDS),
    help="Which actions are watched for; changes are in force within two seconds.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@labels.callback()
def _group() -> None:
    pass


SECONDS = 10.0
"""How long a command waits for the broker."""


def remove(
    name: Annotated[str, typer.Argument(help="Text or id of the label.")],
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Stop watching for an action that was added. Its open events end; what was shown of it is erased."""
    with open_control(config, bootstrap) as (broker, topic, settings):
        version, again = remove_label(broker, topic, name, settings)
    if again:
        typer.echo(
            f"{name!r} is watched for as the settings say again, label set {version}; to end it remove it there, then "
            "`actionwire labels apply FILE`"
        )
    else:
        typer.echo(f"no longer watching for {name!r}, label set {version}")


def list_labels(as_json: Json = False, config: ConfigFile = None, bootstrap: Bootstrap = None) -> None:
    """Show the labels in force, where each comes from, and why some cannot be watched for."""
    with open_control(config, bootstrap) as (broker, topic, settings):
        sets = control_topic.read(broker, topic, SECONDS)
    found = listing(sets, refused(settings, sets))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        Console(markup=False).print(table(found))


def apply(
    file: Annotated[Path, typer.Argument(help="Settings file; only its `labels` count.", exists=True, dir_okay=False)],
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Put the labels of a settings file in force, in place of those applied before. Labels that were added stay.

    Nothing is applied where the workers' bundle does not know a word of them.
    """
    from pipeline.labels.in_settings import labels_of

    named = load_file(file)
    if not named.names_labels:
        raise ConfigurationError(f"{file} says nothing of labels; write `labels: []` to end those that were applied")
    wanted = labels_of(named)
    with open_control(config, bootstrap) as (broker, topic, settings):
        require_readable(settings, control_topic.read(broker, topic, SECONDS), wanted)
        sets = control_topic.apply_config(broker, topic, wanted, SECONDS)
    typer.echo(f"{len(wanted)} labels of {file} are in force, label set {sets.version}")


def add_label(broker: Broker, topic: str, label: Label) -> int:
    """Add a label and return the version that is in force with it. Raises ConfigurationError where its id is taken."""
    return control_topic.write(broker, topic, [added(control_topic.read(broker, topic, SECONDS), label)], SECONDS)


def remove_label(broker: Broker, topic: str, name: str, settings: Settings) -> tuple[int, bool]:
    """Remove a live label by text or id, then its examples. Raises ConfigurationError where that cannot be.

    Returns the version that is in force without it, and whether a label of the settings shows again that it hid.
    """
    sets = control_topic.read(broker, topic, SECONDS)
    record = removed(sets, name)
    version = control_topic.write(broker, topic, [record], SECONDS)
    gone = next(label for label in sets.live if label.id == record.id)
    if named := [(gone.id, one) for one in (*gone.examples, *gone.counterexamples)]:
        from pipeline.examples.topic import remove_examples

        largest = settings.kafka.max_message_bytes
        remove_examples(broker, settings.topics.name("examples"), named, SECONDS, largest)
    return version, any(label.id == record.id for label in sets.config)


def require_readable(settings: Settings, sets: LabelSets, labels: Sequence[Label]) -> None:
    """Make sure that the workers can watch for these labels, as far as that can be known on this machine.

    Raises ConfigurationError with every reason. Where their bundle is not here, a line on stderr says so.
    """
    from pipeline.labels.check import check_in_force

    try:
        check = check_in_force(settings, sets)
    except EngineError as error:
        typer.echo(f"not checked whether the workers can read this: {error}", err=True)
        return
    check.require(labels)


def refused(settings: Settings, sets: LabelSets) -> dict[str, str]:
    """Why labels in force cannot be watched for, by id: as the workers said of this set, else as the bundle says."""
    found = in_force(sets)
    report = sets.reports.get(settings.worker.group)
    if report is not None and report.labels_version == found.version and report.refused_count == len(report.refused):
        return dict(report.refused)
    if not found.labels:
        return {}
    from pipeline.labels.check import check_in_force

    try:
        return check_in_force(settings, sets).problems(found.labels)
    except EngineError:
        return {} if report is None else dict(report.refused)


def listing(sets: LabelSets, refused: Mapping[str, str]) -> dict[str, Any]:
    """The labels in force as a JSON document; `source` is `config` or `live`, `refused` a reason where there is one."""
    live = {label.id for label in sets.live}
    found = in_force(sets)
    documents = [
        {
            **label_document(label),
            "source": "live" if label.id in live else "config",
            **({"refused": refused[label.id]} if label.id in refused else {}),
        }
        for label in found.labels
    ]
    return {"version": found.version, "labels": documents}


def table(found: Mapping[str, Any]) -> Table:
    """The labels in force for people; why some are refused only where some are."""
    from rich.table import Table

    columns = ["id", "text", "cameras", "group", "settings", "source"]
    if any("examples" in label for label in found["labels"]):
        columns.append("examples")
    if any("refused" in label for label in found["labels"]):
        columns.append("refused")
    shown = Table(*columns, title=f"label set {found['version']}")
    for label in found["labels"]:
        own = ", ".join(f"{name} {label[name]}" for name in THRESHOLDS if name in label)
        shots = len(label.get("examples", ())), len(label.get("counterexamples", ()))
        counts = f"{shots[0]}" + (f", not {shots[1]}" if shots[1] else "") if shots[0] else ""
        cells = {**label, "cameras": " ".join(label["cameras"]), "settings": own, "examples": counts}
        shown.add_row(*(cells.get(column, "") for column in columns))
    return shown


@contextmanager
def open_control(config: Path | None, bootstrap: str | None) -> Iterator[tuple[Broker, str, Settings]]:
    """The broker, the name of its control topic, which must exist, and the settings."""
    settings = settings_from(config, bootstrap)
    topic = settings.topics.name("control")
    with closing(connect(settings.kafka)) as broker:
        partitions_of(broker, topic, SECONDS)
        yield broker, topic, settings
