"""`actionwire enrol TEXT --clip FILE | --event ID | --camera ID --from T --to T`: teach an action by showing it.

Everything is checked before anything is written; the examples are there before the label that names them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from engines.errors import EngineError
from pipeline.analysis.label_set import LabelSets, enrolled, in_force, make
from pipeline.broker import control_topic
from pipeline.broker.contract import Broker
from pipeline.commands.labels import SECONDS, open_control, remove_label, require_readable
from pipeline.commands.lazy_group import LazyCommand, group_of
from pipeline.commands.options import Bootstrap, ConfigFile, Json
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.records.events import ActionEvent
from pipeline.records.examples import Example
from pipeline.records.labels import Label
from pipeline.records.wire import nanoseconds

ENROL_COMMANDS = {
    "add": LazyCommand("pipeline.commands.enrol", "add", "Teach an action by showing it; `add` may be left out."),
    "list": LazyCommand("pipeline.commands.enrol", "list_enrolled", "Show what was enrolled."),
    "export": LazyCommand("pipeline.commands.enrol", "export", "Write what was enrolled as labelled clips."),
    "remove": LazyCommand("pipeline.commands.enrol", "remove", "Forget an action and erase what was shown of it."),
}

enrol = typer.Typer(
    cls=group_of(ENROL_COMMANDS, default="add"),
    help="Teach an action by showing it to a running system.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@enrol.callback()
def _group() -> None:
    pass


def add(
    text: Annotated[str | None, typer.Argument(help='The action in plain words: "over the fence".')] = None,
    clip: Annotated[
        list[Path] | None, typer.Option("--clip", metavar="FILE", help="A clip that shows it once; repeat it.")
    ] = None,
    event: Annotated[
        list[str] | None, typer.Option("--event", metavar="ID", help="An event that was it; repeat it.")
    ] = None,
    camera: Annotated[str | None, typer.Option("--camera", metavar="ID", help="A camera that saw it.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="INSTANT", help="With --camera (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="INSTANT", help="With --camera (RFC 3339).")] = None,
    not_event: Annotated[
        list[str] | None, typer.Option("--not", metavar="ID", help="An event that was not it; repeat it.")
    ] = None,
    label_id: Annotated[
        str | None, typer.Option("--id", help="Stable name in events; made from the text by default.")
    ] = None,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Teach an action by showing it, from clips, from events, or from what a camera has just sent.

    With --not and without a text the event's own label learns what it is not.
    """
    stretch = _stretch(camera, since, until)
    with open_control(config, bootstrap) as (broker, topic, settings):
        sets = control_topic.read(broker, topic, SECONDS)
        rejected = [_event(broker, settings, one) for one in not_event or []]
        label = _label(sets, text, label_id, rejected)
        require_readable(settings, sets, [label])
        shown = [_clip(label.id, file, settings) for file in clip or []]
        shown += [_of_event(broker, settings, label.id, _event(broker, settings, one)) for one in event or []]
        if camera is not None and stretch is not None:
            shown.append(_of_camera(broker, settings, label.id, camera, *stretch))
        others = [_of_event(broker, settings, label.id, one) for one in rejected]
        version = teach(broker, settings, label, shown, others)
        for line in too_short(settings, sets, [*shown, *others]):
            typer.echo(line, err=True)
    what = [f"{len(some)} {word}" for some, word in ((shown, "examples"), (others, "counterexamples")) if some]
    typer.echo(f"{label.text!r} as {label.id}: {' and '.join(what)} more, label set {version}")


def list_enrolled(as_json: Json = False, config: ConfigFile = None, bootstrap: Bootstrap = None) -> None:
    """Show what was enrolled: every label that is taught by example, and what was shown of it."""
    from pipeline.examples.topic import ExampleTopic

    with open_control(config, bootstrap) as (broker, topic, settings):
        labels = [label for label in in_force(control_topic.read(broker, topic, SECONDS)).labels if label.examples]
        found = {one.id: one for one in ExampleTopic(broker, settings.topics.name("examples")).find(_names(labels))}
    listed = [_listing(label, found) for label in labels]
    if as_json:
        typer.echo(json.dumps({"labels": listed}, indent=2, ensure_ascii=False))
        return
    for one in listed:
        typer.echo(f"{one['id']}  {one['text']}")
        for example in one["examples"]:
            state = f"{example['pictures']} pictures, {example['seconds']:g} s" if "pictures" in example else "gone"
            shows = "" if example["shows"] else "not"
            typer.echo(f"  {shows:3} {example['id']}  {state}  {example.get('source', '')}".rstrip())


def export(
    folder: Annotated[Path, typer.Argument(help="New folder for the clips and `labels.csv`.", file_okay=False)],
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Write what was enrolled as labelled clips, for `data.clips` of a recipe; what a label is not, as background."""
    from pipeline.examples.export import export as export_clips
    from pipeline.examples.topic import examples_of

    with open_control(config, bootstrap) as (broker, topic, settings):
        labels = [label for label in in_force(control_topic.read(broker, topic, SECONDS)).labels if label.examples]
        found = {(one.label, one.id): one for one in examples_of(broker, settings).find(_names(labels))}
    if not found:
        raise ConfigurationError("nothing was enrolled; show an action first: actionwire enrol TEXT --clip FILE")
    actions, background = export_clips(labels, found, folder)
    typer.echo(f"{actions} clips of {len(labels)} actions and {background} of background in {folder / 'labels.csv'}")


def remove(
    name: Annotated[str, typer.Argument(help="Text or id of the label.")],
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Forget an action and erase what was shown of it. Its open events end."""
    with open_control(config, bootstrap) as (broker, topic, settings):
        version, again = remove_label(broker, topic, name, settings)
    more = "; the settings watch for it by its text alone" if again else ""
    typer.echo(f"no longer watching for {name!r} by example, label set {version}{more}")


def teach(broker: Broker, settings: Settings, label: Label, shown: Sequence[Example], others: Sequence[Example]) -> int:
    """Write examples and the label that names them beside those that it had; return the version then in force.

    Raises ConfigurationError where nothing is shown, two show the same, or the label may not have them; TransientError.
    """
    from pipeline.examples.sampling import require_different
    from pipeline.examples.topic import write_examples

    topic = settings.topics.name("control")
    sets = control_topic.read(broker, topic, SECONDS)
    known = next((one for one in in_force(sets).labels if one.id == label.id), label)
    if not shown and not others:
        raise ConfigurationError("nothing to learn from; name --clip, --event, --camera with --from and --to, or --not")
    if not shown and not known.examples:
        raise ConfigurationError(
            f"{label.text!r} has no example yet, so nothing can be compared with what it is not; enrol one first"
        )
    require_different([*shown, *others], (*known.examples, *known.counterexamples))
    record = enrolled(sets, label, [one.id for one in shown], [one.id for one in others])
    write_examples(broker, settings.topics.name("examples"), [*shown, *others], SECONDS)
    return control_topic.write(broker, topic, [record], SECONDS)


def too_short(settings: Settings, sets: LabelSets, examples: Sequence[Example]) -> list[str]:
    """What to say of examples that do not fill a window of the workers' bundle; nothing where that is not here."""
    from pipeline.labels.check import check_in_force

    try:
        bundle = check_in_force(settings, sets).bundle
    except EngineError:
        return []
    window = bundle.manifest.window
    needed = window.frames / window.rate
    return [
        f"{one.source} lasts {one.seconds:g} s and a window of {bundle.label} {needed:g} s: its last picture is held "
        "for the rest, as if everybody stood still; an example with some seconds around the action teaches more"
        for one in examples
        if one.seconds < needed
    ]


def _label(sets: LabelSets, text: str | None, label_id: str | None, rejected: Sequence[ActionEvent]) -> Label:
    if text is not None:
        return make({"text": text, "id": label_id})
    named = {event.label_id for event in rejected}
    if len(named) != 1:
        raise ConfigurationError("name the action, or events of one label with --not")
    found = [label for label in in_force(sets).labels if label.id in named]
    if not found:
        raise ConfigurationError(f"the label {named.pop()!r} of the event is not watched for any more; name another")
    return found[0]


def _stretch(camera: str | None, since: str | None, until: str | None) -> tuple[int, int] | None:
    given = [one is not None for one in (camera, since, until)]
    if not any(given):
        return None
    if not all(given):
        raise ConfigurationError("--camera, --from and --to belong together; name all three")
    try:
        return nanoseconds(since or ""), nanoseconds(until or "")
    except ValueError as error:
        raise ConfigurationError(f"--from and --to: {error}") from error


def _clip(label: str, file: Path, settings: Settings) -> Example:
    from pipeline.examples.sampling import example_of_clip

    return example_of_clip(label, file, settings)


def _event(broker: Broker, settings: Settings, named: str) -> ActionEvent:
    from pipeline.examples.recorded import event_of

    return event_of(broker, settings, named)


def _of_event(broker: Broker, settings: Settings, label: str, event: ActionEvent) -> Example:
    from pipeline.examples.recorded import example_of_event

    return example_of_event(broker, settings, label, event)


def _of_camera(broker: Broker, settings: Settings, label: str, camera: str, since: int, until: int) -> Example:
    from pipeline.examples.recorded import example_of_camera

    return example_of_camera(broker, settings, label, camera, since, until)


def _names(labels: Sequence[Label]) -> list[tuple[str, str]]:
    return [(label.id, one) for label in labels for one in (*label.examples, *label.counterexamples)]


def _listing(label: Label, found: dict[str, Example]) -> dict[str, Any]:
    ids = [(one, True) for one in label.examples] + [(one, False) for one in label.counterexamples]
    examples: list[dict[str, Any]] = []
    for name, shows in ids:
        about: dict[str, Any] = {"id": name, "shows": shows}
        if (example := found.get(name)) is not None:
            about |= {"pictures": len(example.pictures), "seconds": example.seconds, "source": example.source}
        examples.append(about)
    return {"id": label.id, "text": label.text, "examples": examples}
