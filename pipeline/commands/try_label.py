"""`actionwire labels try TEXT --camera ID`: how a text would score, and what each threshold would have raised.

Analyses the newest frames of one camera in this process, as a worker would. Changes nothing. An action that was
enrolled scores with its examples, and each of these as if it had not been shown (`pipeline.examples.left_out`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from engines.canonical import folded
from engines.contract import EngineInfo
from engines.folders import cache_directory
from pipeline.analysis.event_machine import EventContext, WindowScores, advance, finish
from pipeline.analysis.label_set import LabelSet, in_force, make
from pipeline.analysis.thresholds import EventRules
from pipeline.analysis.ticks import SECOND, tick_ns
from pipeline.broker import connect, control_topic
from pipeline.broker.contract import Broker, Reader
from pipeline.broker.partitioning import partition_of
from pipeline.broker.reading import partitions_of, read_to_end
from pipeline.commands.options import Bootstrap, ConfigFile, Json, settings_from
from pipeline.config.settings import Settings
from pipeline.errors import BadRecordError, ConfigurationError
from pipeline.records.events import ActionEvent, Evidence, ModelReference
from pipeline.records.frames import FrameRecord, decode_stream_record
from pipeline.records.labels import Label
from pipeline.records.wire import Partition, Record, iso

if TYPE_CHECKING:
    from pipeline.worker.model import Model

THRESHOLDS: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BAR = 40


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one window."""

    tick: int
    score: float


@dataclass(frozen=True, slots=True)
class Raised:
    """What one threshold would have raised."""

    enter: float
    events: tuple[tuple[int, int], ...]
    """Start and end of each, in ticks; an event that was still open ends with the last window."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a text would have done on a camera."""

    raised: tuple[Raised, ...]
    seconds: float
    """How much of the stream was scored."""
    left_out: tuple[float, ...] = ()
    """Score of each example by the label without it; none where fewer than two were enrolled."""

    def found(self, enter: float) -> int:
        """How many of the examples would reach a threshold."""
        return sum(score >= enter for score in self.left_out)

    def per_day(self, raised: Raised) -> float:
        """Events a day, if it goes on like this. Where nobody did it meanwhile, they are false alarms."""
        return len(raised.events) * 86_400 / self.seconds if self.seconds else 0.0


def try_label(
    text: Annotated[str, typer.Argument(help="The action in plain words.")],
    camera: Annotated[str, typer.Option("--camera", help="Camera id.")],
    past: Annotated[float, typer.Option(min=1, help="Seconds of the recent past to look at.")] = 30.0,
    live: Annotated[float, typer.Option(min=0, help="Seconds of new frames to wait for.")] = 10.0,
    bundle: Annotated[str | None, typer.Option(help="Bundle to use; else that of the settings.")] = None,
    as_json: Json = False,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Print how a text scores on a camera, and what each threshold would have raised. Changes nothing."""
    settings = settings_from(config, bootstrap, worker={"bundle": bundle})
    console = Console()

    def show(score: Score) -> None:
        instant = iso(tick_ns(score.tick, settings.rate, camera))
        if as_json:
            typer.echo(json.dumps({"time": instant, "tick": score.tick, "score": round(score.score, 6)}))
        else:
            console.print(f"{instant}  {score.score:.3f}  {'#' * round(score.score * _BAR)}", highlight=False)

    with closing(connect(settings.kafka)) as broker:
        tried = run(broker, settings, text, camera, past, live, show)
    if as_json:
        thresholds = [_document(one, tried, settings.rate, camera) for one in tried.raised]
        left_out = {"left_out": [round(score, 6) for score in tried.left_out]} if tried.left_out else {}
        typer.echo(json.dumps({"thresholds": thresholds, **left_out}))
    else:
        console.print(_table(tried, settings.rate, camera))


def run(
    broker: Broker,
    settings: Settings,
    text: str,
    camera: str,
    past: float,
    live: float,
    show: Callable[[Score], None],
) -> Tried:
    """Score a camera's newest frames against a text, show each score, and return what each threshold would have raised.

    Raises ConfigurationError for a camera without frames or a text that the bundle cannot take, EngineError.
    """
    from pipeline.analysis.analyser import ScoredWindow
    from pipeline.examples.encoding import ExampleSource
    from pipeline.examples.left_out import as_of_one
    from pipeline.examples.topic import examples_of
    from pipeline.labels.check import check_of
    from pipeline.replay.replay import NO_MARKERS, Replay
    from pipeline.worker.decoding import decode
    from pipeline.worker.model import load_model

    label = _with_examples(broker, settings, make({"text": text}))
    check_of(settings).require([label])  # before the networks are loaded
    examples = ExampleSource(as_of_one(examples_of(broker, settings).find))
    partitions = partitions_of(broker, settings.topics.name("frames"))
    partition = partitions[partition_of(camera.encode(), len(partitions))]
    cache = cache_directory()
    with (
        closing(broker.reader([partition])) as reader,
        closing(load_model(settings, cache=cache, examples=examples)) as model,
    ):
        recent = tail(reader, partition, camera, round(past * settings.rate))
        if not recent:
            raise ConfigurationError(
                f"camera {camera!r} has no frames in {partition.topic}; `actionwire status` lists the cameras"
            )
        view = model.embed(LabelSet((label,), 0))
        if label not in view.labels:
            raise ConfigurationError(f"{label.text!r}: {model.problems([label])[label.id]}")
        rules = view.rules(camera, settings.rate)
        scores: list[Score] = []

        def observe(window: ScoredWindow) -> None:
            scores.append(Score(window.tick, float(window.scores[0])))
            show(scores[-1])

        replay = Replay(model, lambda _: view, settings, observe)
        replay.open(partition, recent[0].offset, NO_MARKERS)
        chunks = ([decode(record, model.prepare)] for record in _going_on(reader, camera, recent, live))
        for _ in replay.run(partition, chunks):
            pass  # these are the events of the thresholds in force; `raised_by` goes through all thresholds
        seconds = len(scores) * model.geometry.stride / model.geometry.rate
        raised = raised_by(scores, rules, _context(camera, settings, model.engine.info))
        return Tried(tuple(raised), seconds, _left_out(model, label))


def _with_examples(broker: Broker, settings: Settings, label: Label) -> Label:
    """The same text with what was shown of it, where it is in force and was enrolled."""
    sets = control_topic.read(broker, settings.topics.name("control"), 10.0)
    known = next((one for one in in_force(sets).labels if folded(one.text) == folded(label.text)), label)
    return replace(label, id=known.id, examples=known.examples, counterexamples=known.counterexamples)


def _left_out(model: Model, label: Label) -> tuple[float, ...]:
    """The score of each example by the label without it."""
    from pipeline.examples.left_out import without_each

    others = without_each(label)
    if not others or (windows := model.example_windows(label)) is None:
        return ()
    scores = model.embed(LabelSet(others, 0)).score(*model.engine.embed_sequences(windows))
    return tuple(float(scores[place, place]) for place in range(len(others)))


def tail(reader: Reader, partition: Partition, camera: str, ticks: int, seconds: float = 10.0) -> list[Record]:
    """The camera's frames of the last `ticks` ticks, oldest first; the reader is at the end afterwards."""
    first, end = reader.bounds(seconds)[partition]
    reach = 4 * ticks
    while True:
        begin = max(first, end - reach)
        reader.seek(partition, begin)
        frames: list[tuple[int, Record]] = []
        for record in read_to_end(reader, seconds):
            if (frame := _frame(record, camera)) is not None:
                frames.append((frame.tick, record))
        newest = max((tick for tick, _ in frames), default=0)
        kept = [record for tick, record in frames if tick > newest - ticks]
        if begin == first or (frames and len(kept) < len(frames)):
            return kept
        reach *= 4


def raised_by(scores: Sequence[Score], rules: EventRules, context: EventContext) -> list[Raised]:
    """What each threshold would have raised, with the label's other settings and `exit` in the same proportion."""
    own = float(rules.enter[0])
    return [_raised(scores, enter, rules, context) for enter in sorted({*THRESHOLDS, round(own, 3)})]


def _raised(scores: Sequence[Score], enter: float, rules: EventRules, context: EventContext) -> Raised:
    ratio = float(rules.exit[0] / rules.enter[0])
    played = replace(rules, enter=np.array([enter]), exit=np.array([enter * ratio]))
    messages: list[ActionEvent] = []
    states: dict[str, Any] = {}
    last: int | None = None
    for score in scores:
        if last is not None and score.tick <= last:  # a newer session with another clock
            states, ended = finish(states, "session", last, played, context)
            messages += ended
        window = WindowScores(score.tick, np.array([score.score], np.float32), Evidence("", 0, 0, 0))
        states, fired = advance(states, window, played, context)
        messages += fired
        last = score.tick
    if last is not None:
        messages += finish(states, "session", last, played, context)[1]
    return Raised(enter, tuple((one.start_tick, one.end_tick) for one in messages if one.end_tick is not None))


def _going_on(reader: Reader, camera: str, recent: Sequence[Record], seconds: float) -> Iterator[Record]:
    """The recent frames, then those that come in during the next `seconds`."""
    yield from recent
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        yield from (record for record in reader.read(min(left, 0.5)) if _frame(record, camera) is not None)


def _frame(record: Record, camera: str) -> FrameRecord | None:
    if record.key != camera.encode():
        return None
    try:
        frame = decode_stream_record(record.key, record.value, record.headers)
    except BadRecordError:
        return None
    return frame if isinstance(frame, FrameRecord) else None


def _context(camera: str, settings: Settings, info: EngineInfo) -> EventContext:
    model = ModelReference(info.bundle, info.name, info.version, info.space)
    return EventContext(camera, 0, settings.rate, model, 0, info.frames, float(settings.rate))


def _document(raised: Raised, tried: Tried, rate: int, camera: str) -> dict[str, Any]:
    spans = [{"start": _iso(start, rate, camera), "end": _iso(end, rate, camera)} for start, end in raised.events]
    found = {"examples_found": tried.found(raised.enter)} if tried.left_out else {}
    per_day = round(tried.per_day(raised), 1)
    return {"enter": raised.enter, "events": len(spans), "per_day": per_day, "spans": spans, **found}


def _table(tried: Tried, rate: int, camera: str) -> Table:
    title = f"what each threshold would have raised in {tried.seconds:.0f} s; a day like that"
    columns = ["enter", "events", "a day", "seconds", "when"]
    shown = Table(*columns, *(["examples found"] if tried.left_out else []), title=title)
    for one in tried.raised:
        lengths = sum(tick_ns(end, rate, camera) - tick_ns(start, rate, camera) for start, end in one.events)
        when = ", ".join(_iso(start, rate, camera)[11:19] for start, _ in one.events[:5])
        more = f" and {len(one.events) - 5} more" if len(one.events) > 5 else ""
        found = [f"{tried.found(one.enter)} of {len(tried.left_out)}"] if tried.left_out else []
        cells = [f"{one.enter:g}", str(len(one.events)), f"{tried.per_day(one):.0f}", f"{lengths / SECOND:.1f}"]
        shown.add_row(*cells, when + more, *found)
    return shown


def _iso(tick: int, rate: int, camera: str) -> str:
    return iso(tick_ns(tick, rate, camera))
