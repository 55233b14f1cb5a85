"""Recorded video, or a stretch of the frames topic, through the worker's path: as fast as it goes, shedding nothing.

A file goes through what a camera's frames go through (sampling on the tick grid, scaling, JPEG and back), so a replay
sees what live sees. Every file is a camera on a partition of its own; its session ends with it, and so do its open
events.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pipeline.analysis.analyser import Path as RecordPath
from pipeline.analysis.analyser import ScoredWindow
from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.label_set import LabelSet, LabelSets, apply
from pipeline.analysis.partition import LabelView, Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.analysis.ticks import REPLAY_EPOCH_NS
from pipeline.broker.contract import Broker
from pipeline.camera.sampling import SampledFrame, sample_file
from pipeline.config.settings import Settings
from pipeline.errors import BadRecordError, ConfigurationError
from pipeline.records.events import ActionEvent
from pipeline.records.frames import EndMarker, FrameRecord
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import decode_control
from pipeline.records.wire import Partition, Record
from pipeline.worker.decoding import decode
from pipeline.worker.label_views import KnownSets
from pipeline.worker.model import Model

FILES_TOPIC = "replay"
"""Topic that the evidence of replayed files names; its offsets count the sampled frames."""
CHUNK = 32
"""Frames that are handed from the decoding thread to inference at once."""
NO_MARKERS = 2**62
"""Label version that no marker can raise."""

T = TypeVar("T")


@dataclass(slots=True)
class Summary:
    """What a replay went through."""

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
        views: Callable[[int], LabelView],
        settings: Settings,
        observe: Callable[[ScoredWindow], None] | None = None,
    ) -> None:
        self.summary = Summary()
        self._model = model
        self._rate = settings.rate
        self._path = RecordPath(
            model.engine,
            model.geometry,
            views,
            rewind_seconds=settings.worker.rewind_seconds,
            batch=settings.worker.batch_frames,
            observe=observe,
        )

    def open(self, partition: Partition, position: int, labels: int) -> None:
        """Begin a partition at an offset, with nothing remembered."""
        self._path.open(Restored(partition, Committed(position, position, NO_STATE, labels)))

    def run(self, partition: Partition, chunks: Iterable[Sequence[Decoded]]) -> Iterator[ActionEvent]:
        """Lead the records of one partition along the path; yield its event messages in order."""
        summary = self.summary
        for chunk in chunks:
            outcome = self._path.advance({partition: chunk})
            summary.frames += sum(outcome.frames.values())
            summary.windows += outcome.windows
            summary.bad_records += len(outcome.dead)
            summary.events += len(outcome.fired)
            summary.cameras |= outcome.heard.get(partition, set())
            summary.stream_seconds += sum(isinstance(one.content, FrameRecord) for one in chunk) / self._rate
            yield from (fired.event for fired in outcome.fired)
        summary.dropped = dict(self._path.tally.dropped)


def replay_files(
    replay: Replay,
    model: Model,
    settings: Settings,
    files: Mapping[str, Path],
    *,
    labels: int = 0,
    epoch_ns: int = REPLAY_EPOCH_NS,
) -> Iterator[ActionEvent]:
    """Replay video files, each as the camera of its name; yield the event messages of one camera after the other.

    labels: version of the label set. epoch_ns: capture time of each file's first picture. Raises CameraRefused.
    """
    for number, (camera, file) in enumerate(files.items()):
        partition = Partition(FILES_TOPIC, number)
        replay.open(partition, 0, labels)
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
    """Replay the frames topic as far as it is written now, one partition after the other.

    control: the control topic's records, whose set at the time of a partition's first record is what it begins with;
    None: one fixed set, whatever the markers say. since_ms, until_ms: time at which a record was appended.
    Raises TransientError, ConfigurationError.
    """
    topic = settings.topics.name("frames")
    count = broker.partition_counts([topic], 8.0).get(topic)
    if count is None:
        raise ConfigurationError(f"there is no topic {topic}; create it with `actionwire topics`, or name its cluster")
    for partition in (Partition(topic, number) for number in range(count)):
        stretch = _stretch(broker, partition, since_ms, until_ms)
        if (first := next(stretch, None)) is None:
            continue
        version = NO_MARKERS if control is None else _version_at(control, first.timestamp_ms)
        replay.open(partition, first.offset, version)
        records = (decode(record, model.prepare) for record in (one for part in ([first], stretch) for one in part))
        yield from replay.run(partition, _ahead(records))


def known_sets(control: Iterable[Record]) -> KnownSets:
    """Every label set that the control topic ever held; what is no control record is passed over, as workers do."""
    known, sets = KnownSets(complete=True), LabelSets()
    for record in control:
        with suppress(BadRecordError):
            sets = apply(sets, decode_control(record.key, record.value), record.offset)
            known.seen(sets)
    return known


def read_all(broker: Broker, partition: Partition, seconds: float = 8.0) -> list[Record]:
    """Every record of a partition as far as it is written now. Raises TransientError."""
    return list(_stretch(broker, partition, 0, 2**62, seconds))


def fixed(model: Model, labels: LabelSet) -> Callable[[int], LabelView]:
    """One set of labels for every version."""
    view = model.embed(labels)
    return lambda _: view


def _recorded(camera: str, file: Path, model: Model, settings: Settings, epoch_ns: int) -> Iterator[Decoded]:
    """A file as a camera would have brought it to the frames topic, and the end of its session."""
    quality = settings.ingest.jpeg_quality
    last: FrameRecord | None = None
    offset = 0

    def decoded(numbered: tuple[int, SampledFrame]) -> Decoded:
        number, frame = numbered
        height, width = frame.image.shape[:2]
        record = FrameRecord(
            frame.camera,
            frame.session,
            frame.sequence,
            frame.tick,
            frame.rate,
            frame.capture_ns,
            frame.clock,
            width,
            height,
            b"",
        )
        return Decoded(number, record, model.prepare(encode_jpeg(frame.image, quality)))

    sampled = enumerate(sample_file(file, camera, settings.rate, epoch_ns, settings.ingest.short_side))
    with ThreadPoolExecutor(settings.worker.decode_threads) as pool:
        while some := list(islice(sampled, CHUNK)):
            for one in pool.map(decoded, some):
                offset = one.offset + 1
                last = one.content if isinstance(one.content, FrameRecord) else last
                yield one
    if last is not None:
        yield Decoded(offset, EndMarker(camera, last.session, last.tick, "replaced"))


def _stretch(
    broker: Broker, partition: Partition, since_ms: int, until_ms: int, seconds: float = 8.0
) -> Iterator[Record]:
    reader = broker.reader([partition])
    try:
        _, end = reader.bounds(seconds)[partition]
        while reader.positions()[partition] < end:
            for record in reader.read(0.5):
                if since_ms <= record.timestamp_ms < until_ms and record.offset < end:
                    yield record
    finally:
        reader.close()


def _version_at(control: Sequence[Record], instant_ms: int) -> int:
    """Offset of the newest control record at an instant; of the oldest where none is that old; -1: there is none."""
    before = [record.offset for record in control if record.timestamp_ms <= instant_ms]
    return before[-1] if before else control[0].offset if control else -1


def _ahead(work: Iterator[T], depth: int = 4) -> Iterator[list[T]]:
    """Chunks of `work`, made on a thread of their own while the last ones are being used."""
    done: queue.Queue[list[T] | BaseException | None] = queue.Queue(depth)
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
