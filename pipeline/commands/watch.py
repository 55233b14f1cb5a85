"""`actionwire watch`: follow the events of a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.text import Text

from engines.canonical import folded
from pipeline.analysis.label_set import slug
from pipeline.analysis.ticks import SECOND
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of
from pipeline.commands.options import Bootstrap, ConfigFile, Json, settings_from
from pipeline.errors import BadRecordError, TransientError
from pipeline.records.events import ActionEvent, decode_event
from pipeline.records.labels import names_camera
from pipeline.records.wire import Record, iso

log = structlog.get_logger()

_STYLES = {"started": "bold red", "updated": "yellow", "ended": "green"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which events to show; an empty tuple means all."""

    cameras: tuple[str, ...] = ()
    """Ids or globs."""
    labels: tuple[str, ...] = ()
    """Ids, globs of ids, or texts."""

    def takes(self, event: ActionEvent) -> bool:
        """Whether this event is wanted."""
        right_camera = not self.cameras or names_camera(self.cameras, event.camera)
        return right_camera and (not self.labels or any(_named(event, label) for label in self.labels))


def watch(
    camera: Annotated[list[str] | None, typer.Option("--camera", help="Camera id or glob; repeatable.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="Label id, glob or text; repeatable.")] = None,
    begin: Annotated[
        bool, typer.Option("--begin", help="Start at the oldest event that is kept instead of the next new one.")
    ] = False,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop at the newest event instead of waiting.")
    ] = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="Those of a shadow worker instead.")] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Show events as they are committed. With --json, one document per line, as `actionwire evaluate` reads them."""
    settings = settings_from(config, bootstrap)
    topics = settings.topics
    if shadow:
        from pipeline.worker.shadow.settings import ShadowTopics

        topics = ShadowTopics(**topics.model_dump())
    choice = Choice(tuple(camera or ()), tuple(label or ()))
    console = Console()
    with closing(connect(settings.kafka)) as broker:
        for record, event in follow(broker, topics.name("events"), begin=begin, until_end=until_end):
            if not choice.takes(event):
                continue
            if as_json:
                typer.echo(record.value)
            else:
                console.print(line(event), soft_wrap=True)  # one line per event, so that the output can be searched


def follow(
    broker: Broker, topic: str, *, begin: bool = False, until_end: bool = False, stop: threading.Event | None = None
) -> Iterator[tuple[Record, ActionEvent]]:
    """Committed events of all partitions, from now on or from the oldest.

    until_end: stop at what is the end when this is called. A record that is not an event is logged and skipped. This
    waits while the broker is away.
    """
    reader = broker.reader(partitions_of(broker, topic))
    stop = stop or threading.Event()
    with closing(reader):
        bounds = reader.bounds(10.0)
        for partition, (first, end) in bounds.items():
            reader.seek(partition, first if begin else end)
        while not stop.is_set():
            try:
                positions = reader.positions()
                if until_end and all(positions[partition] >= end for partition, (_, end) in bounds.items()):
                    return
                records: Sequence[Record] = reader.read(0.5)
            except TransientError as error:
                log.warning("events cannot be read at the moment", error=str(error))
                stop.wait(1.0)
                continue
            yield from _decoded(records)


def line(event: ActionEvent) -> Text:
    """One event message for people: time, camera, action, score, and how it ended."""
    text = Text(f"{iso(event.time_ns)}  {event.camera:<16} ")
    text.append(f"{event.phase:<8}", _STYLES[event.phase])
    text.append(f" {event.label}", "bold")
    text.append(f"  peak {event.peak:.2f}  since {iso(event.start_ns)}")
    if event.end_ns is not None:
        text.append(f"  for {(event.end_ns - event.start_ns) / SECOND:.1f} s  ({event.reason})")
    return text


def _decoded(records: Sequence[Record]) -> Iterator[tuple[Record, ActionEvent]]:
    for record in records:
        try:
            yield record, decode_event(record.value)
        except BadRecordError as error:
            log.warning("not an event", partition=record.partition, offset=record.offset, error=str(error))


def _named(event: ActionEvent, label: str) -> bool:
    return fnmatchcase(event.label_id, label) or slug(label) == event.label_id or folded(label) == folded(event.label)
