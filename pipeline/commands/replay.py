"""`actionwire replay`: recorded video or a stretch of the frames topic through the worker's path."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import typer

from engines.canonical import canonical_json
from engines.folders import cache_directory
from pipeline.analysis.label_set import LabelSet, collect, make
from pipeline.analysis.ticks import REPLAY_EPOCH_NS
from pipeline.commands.options import Bootstrap, ConfigFile, settings_from, writable
from pipeline.config.reading import read_document
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.records.events import ActionEvent, event_document
from pipeline.records.labels import Label
from pipeline.records.wire import Partition, iso, nanoseconds
from pipeline.replay.score_table import ScoreTable

if TYPE_CHECKING:
    from pipeline.broker.contract import Broker

_CAMERA = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")


def replay(
    files: Annotated[list[Path] | None, typer.Argument(help="Video files; each is the camera of its name.")] = None,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", metavar="ID=FILE", help="A video file as this camera; repeat it.")
    ] = None,
    topic: Annotated[
        bool, typer.Option("--topic", help="Replay the frames topic of the cluster instead of files.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="With --topic: records appended from here on (RFC 3339).")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="INSTANT", help="With --topic: records appended before.")] = None,
    epoch: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Capture time of each file's first picture (RFC 3339).")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", metavar="TEXT", help="Watch for this.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file with a list under `labels:`; else those of the settings."),
    ] = None,
    bundle: Annotated[str | None, typer.Option(help="Bundle to use; else that of the settings.")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Allow a bundle that was not sealed yet.")] = False,
    output: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write events as JSON lines here; - for stdout.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Write every window's cosines and probabilities here.")
    ] = None,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Run recorded video, or a stretch of the frames topic, through the worker's path and print the events.

    It runs as fast as it can, sheds nothing, and yields the events that a worker would have produced.
    """
    from pipeline.labels.check import check_of

    settings = settings_from(config, bootstrap, worker={"bundle": bundle})
    sources = _sources(files or [], camera or [])
    if bool(sources) == topic:
        raise ConfigurationError("name video files to replay, or --topic for the frames topic of the cluster")
    wanted = _labels(label or [], labels, settings)
    for file in filter(_is_file, (output, scores)):
        writable(file)
    if not topic or label or labels:  # with those of the topic it does as a worker does, and leaves out what is refused
        check_of(settings, allow_draft=draft).require(wanted)
    begun = perf_counter()
    with ExitStack() as stack:
        broker = _cluster(stack, settings) if topic else None
        model = _model(settings, broker, allow_draft=draft)
        stack.callback(model.close)
        table = ScoreTable() if scores else None
        observe = table.note if table else None
        if broker:
            given = wanted if label or labels else None
            running, events = _topic(broker, model, settings, given, observe, _ms(since, 0), _ms(until, 2**62))
        else:
            running, events = _recordings(model, settings, wanted, observe, sources, epoch)
        _write(events, output)
        if table and scores:
            table.save(scores, wanted, model, settings.rate)
        typer.echo(_summary(running.summary, perf_counter() - begun), err=True)


def _summary(found: Any, spent: float) -> str:
    """One line about a replay that took `spent` seconds."""
    return (
        f"{len(found.cameras)} cameras, {found.frames} frames, {found.windows} windows, {found.events} messages in "
        f"{spent:.1f} s: {found.stream_seconds / spent:.1f} times real time"
        + (f"; not used: {found.dropped}" if found.dropped else "")
        + (f"; bad records: {found.bad_records}" if found.bad_records else "")
    )


def _recordings(
    model: Any,
    settings: Settings,
    labels: tuple[Label, ...],
    observe: Any,
    sources: Mapping[str, Path],
    epoch: str | None,
) -> tuple[Any, Iterator[ActionEvent]]:
    from pipeline.replay.replay import Replay, fixed, replay_files

    running = Replay(model, fixed(model, LabelSet(labels, 0)), settings, observe)
    epoch_ns = _instant(epoch) if epoch else REPLAY_EPOCH_NS
    return running, replay_files(running, model, settings, sources, epoch_ns=epoch_ns)


def _cluster(stack: ExitStack, settings: Settings) -> Broker:
    from pipeline.broker import connect

    broker = connect(settings.kafka)
    stack.callback(broker.close)
    broker.check(10.0)
    return broker


def _model(settings: Settings, broker: Broker | None, *, allow_draft: bool) -> Any:
    from pipeline.examples.encoding import NO_EXAMPLES
    from pipeline.examples.topic import examples_of
    from pipeline.worker.model import load_model

    examples = examples_of(broker, settings) if broker else NO_EXAMPLES
    return load_model(settings, allow_draft=allow_draft, cache=cache_directory(), examples=examples)


def _topic(
    broker: Broker,
    model: Any,
    settings: Settings,
    given: tuple[Label, ...] | None,
    observe: Any,
    since_ms: int,
    until_ms: int,
) -> tuple[Any, Iterator[ActionEvent]]:
    from pipeline.broker.reading import read_all
    from pipeline.replay.replay import Replay, fixed, label_history, replay_topic
    from pipeline.worker.label_views import LabelViews

    if given is not None:
        running = Replay(model, fixed(model, LabelSet(given, 0)), settings, observe)
        return running, replay_topic(running, model, broker, settings, None, since_ms=since_ms, until_ms=until_ms)
    control = list(read_all(broker, [Partition(settings.topics.name("control"), 0)]))
    label_views = LabelViews(model.embed, label_history(control))
    running = Replay(model, label_views, settings, observe)
    return running, replay_topic(running, model, broker, settings, control, since_ms=since_ms, until_ms=until_ms)


def _sources(files: list[Path], cameras: list[str]) -> Mapping[str, Path]:
    named = [tuple(one.split("=", 1)) if "=" in one else (one, "") for one in cameras]
    pairs = [(re.sub(r"[^a-zA-Z0-9_.-]", "-", file.stem), file) for file in files]
    sources: dict[str, Path] = {}
    for name, file in [*pairs, *((name, Path(file)) for name, file in named)]:
        if not _CAMERA.fullmatch(name) or not str(file) or str(file) == ".":
            raise ConfigurationError(
                f"--camera {name!r}: write it as ID=FILE, the id of letters, digits, '_', '.', '-'"
            )
        if name in sources:
            raise ConfigurationError(f"two files would be camera {name!r}; name them with --camera ID=FILE")
        if not file.is_file():
            raise ConfigurationError(f"there is no file {file}; check the path")
        sources[name] = file
    return sources


def _labels(texts: list[str], file: Path | None, settings: Settings) -> tuple[Label, ...]:
    if not texts and file is None:
        return collect(make(one.model_dump()) for one in settings.labels)
    given: list[Any] = list(texts)
    if file is not None:
        found = read_document(file).get("labels")
        if not isinstance(found, list):
            raise ConfigurationError(f"{file} must hold a list under 'labels:'")
        given += found
    return collect(make({"text": one} if isinstance(one, str) else dict(one)) for one in given)


def _instant(text: str) -> int:
    try:
        return nanoseconds(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no instant such as {iso(REPLAY_EPOCH_NS)}: {error}") from error


def _ms(text: str | None, default: int) -> int:
    return default if text is None else _instant(text) // 1_000_000


def _is_file(path: Path | None) -> TypeGuard[Path]:
    """True for a file to write; `-` is stdout."""
    return path is not None and str(path) != "-"


def _write(events: Iterator[ActionEvent], output: Path | None) -> None:
    if _is_file(output):
        with output.open("wb") as file:
            for event in events:
                file.write(canonical_json(event_document(event)) + b"\n")
        return
    for event in events:
        if output is not None:
            print(json.dumps(event_document(event), sort_keys=True, ensure_ascii=False))
        else:
            end = f" to {iso(event.end_ns)}" if event.end_ns is not None else ""
            print(f"{iso(event.time_ns)}  {event.camera:<16} {event.phase:<8} {event.label}  {event.peak:.3f}{end}")
    sys.stdout.flush()
