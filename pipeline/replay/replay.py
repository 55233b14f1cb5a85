"""Recorded video, or a stretch of the frames topic, through the worker's path: as fast as possible, shedding nothing.

A file passes the same steps as the frames of a camera (sampling on the tick grid, scaling, JPEG and back), so a replay
sees what a live worker sees. Every file is a camera on a partition of its own. Its session ends with the file, and so
do its open events.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from pipeline.analysis.analyser import Analyser, ScoredWindow
from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.label_set import LabelSet, LabelSets, apply
from pipeline.analysis.partition import LabelView, Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.analysis.ticks import REPLAY_EPOCH_NS
from pipeline.broker.contract import Broker
from pipeline.broker.reading import partitions_of, read_all
from pipeline.camera.fit import cover_of, fit_frame
from pipeline.camera.sampling import SampledFrame, sample_file
from pipeline.config.settings import Settings
from pipeline.errors import BadRecordError
from pipeline.records.events import ActionEvent
from pipeline.records.frames import EndMarker, FrameRecord
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import decode_control
from pipeline.records.wire import Partition, Record
from pipeline.worker.decoding import decode
from pipeline.worker.inference.sizes import sizes_of
from pipeline.worker.label_views import LabelHistory
from pipeline.worker.model import Model

FILES_TOPIC = "replay"
"""The topic in the evidence of replayed files; its offsets count the sampled frames."""
CHUNK = 32
"""Frames that the decoding thread passes to inference at once."""
NO_MARKERS = 2**62
"""A label version that no marker can exceed."""

_CHUNKS_AHEAD = 4

T = TypeVar("T")


@dataclass(slots=True)
class Summary:
    """What a replay has read and made of it."""

    frames: int = 0
    windows: int = 0
    events: int = 0
    bad_records: int = 0
    stream_seconds: float = 0.0
    cameras: set[str] = field(default_factory=set)
    dropped: dict[str, int] = field(default_factory=dict)


class Replay:
    """Records on the worker's path, without a broker behind it."""

    def __init__(
        self,
        model: Model,
        labels: Callable[[int], LabelView],
        settings: Settings,
        observe: Callable[[ScoredWindow], None] | None = None,
    ) -> None:
        self.summary = Summary()
        self._model = model
        self._rate = settings.rate
        self._analyser = Analyser(
            model.engine,
            model.geometry,
            labels,
            rewind_seconds=settings.worker.rewind_seconds,
            batch=sizes_of(settings.worker).batch_frames,
            observe=observe,
        )

    def open(self, partition: Partition, position: int, labels: int) -> None:
        """Begin a partition at an offset, with nothing remembered."""
        self._analyser.open(Restored(partition, Committed(position, position, NO_STATE, labels)))

    def run(self, partition: Partition, chunks: Iterable[Sequence[Decoded]]) -> Iterator[ActionEvent]:
        """Send the records of one partition down the path, and yield its event messages in order."""
        summary = self.summary
        for chunk in chunks:
            outcome = self._analyser.advance({partition: chunk})
            summary.frames += sum(outcome.frames.values())
            summary.windows += outcome.windows
            summary.bad_records += len(outcome.dead)
            summary.events += len(outcome.fired)
            summary.cameras |= outcome.active.get(partition, set())
            summary.stream_seconds += sum(isinstance(one.content, FrameRecord) for one in chunk) / self._rate
            yield from (fired.event for fired in outcome.fired)
        summary.dropped = dict(self._analyser.tally.dropped)


def replay_files(
    replay: Replay,
    model: Model,
    settings: Settings,
    files: Mapping[str, Path],
    *,
    epoch_ns: int = REPLAY_EPOCH_NS,
) -> Iterator[ActionEvent]:
    """Replay video files, each as the camera of its name, and yield the event messages of one camera after the other.

    epoch_ns: capture time of each file's first picture. Raises CameraRefused.
    """
    for number, (camera, file) in enumerate(files.items()):
        partition = Partition(FILES_TOPIC, number)
        replay.open(partition, 0, 0)
        records = _recorded(camera, file, model, settings, epoch_ns)
        yield from replay.run(partition, _ahead(records))


def replay_topic(
    replay: Replay,
    model: Model,
    broker: Broker,
    settings: Settings,
    control: Sequence[Record] | None,
    *,
    since_ms: int = 0,
    until_ms: int = 2**62,
) -> Iterator[ActionEvent]:
    """Replay the frames topic up to its present end, one partition after the other.

    control: the records of the control topic. A partition begins with the label set at the time of its first record.
    None: one fixed set, whatever the markers say. since_ms, until_ms: when a record was appended.
    Raises TransientError, ConfigurationError.
    """
    for partition in partitions_of(broker, settings.topics.name("frames")):
        written = read_all(broker, [partition])
        stretch = (record for record in written if since_ms <= record.timestamp_ms < until_ms)
        if (first := next(stretch, None)) is None:
            continue
        version = NO_MARKERS if control is None else _version_at(control, first.timestamp_ms)
        replay.open(partition, first.offset, version)
        records = (decode(record, model.prepare) for record in chain([first], stretch))
        yield from replay.run(partition, _ahead(records))


def label_history(control: Iterable[Record]) -> LabelHistory:
    """Every label set that the control topic ever held; what is no label record is passed over, as workers do."""
    history = LabelHistory(complete=True)
    for _, sets in _label_sets(control):
        history.add(sets)
    return history


def _label_sets(control: Iterable[Record]) -> Iterator[tuple[int, LabelSets]]:
    """When each label record was appended, in milliseconds, and what was in force with it."""
    sets = LabelSets()
    for record in control:
        before = sets
        with suppress(BadRecordError):
            sets = apply(sets, decode_control(record.key, record.value), record.offset)
        if sets.version != before.version:
            yield record.timestamp_ms, sets


def fixed(model: Model, labels: LabelSet) -> Callable[[int], LabelView]:
    """One set of labels for every version."""
    embedded = model.embed(labels)
    return lambda _: embedded


def _recorded(camera: str, file: Path, model: Model, settings: Settings, epoch_ns: int) -> Iterator[Decoded]:
    """A file as a camera would have published it, and the end of its session."""
    quality, wanted = settings.ingest.jpeg_quality, settings.ingest.fit
    fit = model.bundle.manifest.input if wanted == "auto" else cover_of(wanted)
    last: FrameRecord | None = None
    offset = 0

    def decoded(numbered: tuple[int, SampledFrame]) -> Decoded:
        number, frame = numbered
        frame = fit_frame(frame, fit)
        record = frame.record(b"")
        return Decoded(number, record, model.prepare(encode_jpeg(frame.image, quality), record.pixel))

    sampled = enumerate(sample_file(file, camera, settings.rate, epoch_ns, settings.ingest.short_side))
    with ThreadPoolExecutor(sizes_of(settings.worker).decode_threads) as pool:
        while some := list(islice(sampled, CHUNK)):
            for one in pool.map(decoded, some):
                offset = one.offset + 1
                last = one.content if isinstance(one.content, FrameRecord) else last
                yield one
    if last is not None:
        yield Decoded(offset, EndMarker(camera, last.session, last.tick, "replaced"))


def _version_at(control: Sequence[Record], instant_ms: int) -> int:
    """Version of the labels in force at an instant; the oldest when none is that old; -1 when there is none."""
    versions = [(appended_ms, sets.version) for appended_ms, sets in _label_sets(control)]
    before = [version for appended_ms, version in versions if appended_ms <= instant_ms]
    return before[-1] if before else versions[0][1] if versions else -1


def _ahead(work: Iterator[T]) -> Iterator[list[T]]:
    """Chunks of `work`, made ahead on another thread while earlier ones are being used."""
    done: queue.Queue[list[T] | BaseException | None] = queue.Queue(_CHUNKS_AHEAD)
    left = threading.Event()

    def put(what: list[T] | BaseException | None) -> None:
        while not left.is_set():
            try:
                return done.put(what, timeout=0.1)
            except queue.Full:
                continue

    def fill() -> None:
        try:
            while not left.is_set() and (chunk := list(islice(work, CHUNK))):
                put(chunk)
            put(None)
        except BaseException as error:  # raised again where the chunks are used
            put(error)

    thread = threading.Thread(target=fill, name="replay-decode", daemon=True)
    thread.start()
    try:
        while (chunk := done.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
    finally:
        left.set()
        thread.join()
