"""Doubles and factories for tests: a manual clock, record factories, a numpy engine and labels that know colours.

They are part of the package, because users of the records need to test without cameras and models too.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.contract import Embeddings, EngineInfo, Images, Items, Memory, Sequences
from pipeline.analysis.thresholds import Calibration, CameraRules, EventRules, resolve
from pipeline.analysis.ticks import SECOND, tick_ns
from pipeline.records.events import ActionEvent, Evidence, ModelReference, Phase
from pipeline.records.frames import FrameRecord, StreamRecord, encode_stream_record
from pipeline.records.labels import THRESHOLDS, Label
from pipeline.records.wire import Partition, Record

if TYPE_CHECKING:
    from pipeline.camera.picture import Picture
    from pipeline.camera.source_settings import SourceSettings

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "grey": (128, 128, 128),
}
"""Colours that a test camera may show. A label of the same name looks for each of them, except grey."""

EPOCH = 1_700_000_000
"""Seconds since 1970 at which test streams begin."""


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when a test moves it."""

    seconds: float = float(EPOCH)

    def monotonic(self) -> float:
        """Seconds, for durations."""
        return self.seconds

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return int(self.seconds * SECOND)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


def picture(colour: str) -> Images:
    """A picture of one colour, RGB uint8 [2, 2, 3]."""
    return np.full((2, 2, 3), COLOURS[colour], np.uint8)


def frame(camera: str, tick: int, *, session: int = 1, rate: int = 4, jpeg: bytes = b"jpeg") -> FrameRecord:
    """A frame captured exactly at its tick."""
    return FrameRecord(camera, session, 0, tick, rate, tick_ns(tick, rate, camera), "arrival", 2, 2, jpeg)


def as_record(record: StreamRecord, partition: Partition, offset: int) -> Record:
    """A record as it would be read from the frames topic."""
    message = encode_stream_record(record)
    return Record(partition.topic, partition.number, offset, message.key, message.value, message.headers)


_MODEL = ModelReference("b" * 64, "demo", "0.1.0", "s" * 16)
_STARTED = ActionEvent(
    id="6c0f7f9e-0000-5000-8000-000000000000",
    sequence=0,
    phase="started",
    camera="front-door",
    session=EPOCH * 1000,
    label_id="fall",
    label="a person falls",
    time_ns=EPOCH * SECOND + 12_250_000_000,
    start_ns=EPOCH * SECOND + 11_000_000_000,
    start_tick=EPOCH * 4 + 44,
    end_ns=None,
    end_tick=None,
    score=0.91,
    peak=0.93,
    peak_ns=EPOCH * SECOND + 12_000_000_000,
    reason=None,
    model=_MODEL,
    started_by=_MODEL,
    labels_version=3,
    window_frames=8,
    window_rate=4.0,
    evidence=Evidence("actionwire.frames", 5, 100, 107),
)
_ENDED: Mapping[str, Any] = {
    "sequence": 1,
    "phase": "ended",
    "time_ns": EPOCH * SECOND + 16_250_000_000,
    "end_ns": EPOCH * SECOND + 14_500_000_000,
    "end_tick": EPOCH * 4 + 58,
    "reason": "score",
}


def sample_event(phase: Phase = "started", **changes: Any) -> ActionEvent:
    """A message about a person who falls at the front door, 11 s into the test stream, for 3.5 s.

    changes: fields of `ActionEvent` to replace.
    """
    fields = _ENDED if phase == "ended" else {"phase": phase, "sequence": int(phase == "updated")}
    return replace(_STARTED, **{**fields, **changes})


def first_pictures(settings: SourceSettings, count: int) -> list[Picture]:
    """The first `count` pictures that a video source delivers. Raises what `open_source` and `pictures` raise."""
    from pipeline.camera.source import open_source  # tests without cameras must not need a video library

    with open_source(settings) as source:
        return list(islice((picture for picture in source.pictures() if picture), count))


@dataclass(slots=True)
class ColourEngine:
    """An engine in numpy that embeds a picture as its mean colour; pictures are 2 x 2.

    history: so many layers mix the colour with what the frame before had there, half and half.
    """

    frames: int = 4
    history: int = 0
    calls: list[int] = field(default_factory=list)
    """Size of every batch that was encoded."""

    @property
    def info(self) -> EngineInfo:
        """That of a `frame` bundle."""
        return EngineInfo(
            bundle="colours",
            name="colours",
            version="1",
            kind="frame",
            dimensions=3,
            frames=self.frames,
            height=2,
            width=2,
            precision="fp32",
            backend="numpy",
            device="cpu",
            space="colours",
            history=self.history,
            batch_invariant=True,
            memory=((3,),) * self.history,
        )

    def encode(self, images: Images, memory: Memory | None = None) -> tuple[Items, Memory | None]:
        """Mean colour of each picture, float32 [n, 3] from 0 to 1; with a history, mixed with those before it."""
        self.calls.append(len(images))
        items: Items = images.mean(axis=(1, 2), dtype=np.float32) / np.float32(255)
        if not self.history:
            return items, None
        after = []
        for before in memory or (np.zeros_like(items),) * self.history:
            after.append(items)
            items = (items + before) / np.float32(2)
        return items, tuple(after)

    def embed(self, windows: Items) -> tuple[Embeddings, Embeddings]:
        """Mean of the items, normalised; black stays zero."""
        mean = windows.mean(axis=1, dtype=np.float32)
        unit = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.float32(1e-6))
        return unit, unit

    def embed_sequences(self, windows: Items) -> tuple[Embeddings, Embeddings, Sequences]:
        """The embeddings, and the items themselves, normalised."""
        lengths = np.linalg.norm(windows, axis=-1, keepdims=True)
        return *self.embed(windows), np.asarray(windows / np.maximum(lengths, np.float32(1e-6)), np.float32)

    def prototypes(self, windows: Items, text: Embeddings) -> Sequences:
        """Every example stands for itself."""
        return self.embed_sequences(windows)[2]

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True, slots=True)
class ColourLabels:
    """A version of a label set whose labels are colours; a window scores by how much of it has the colour."""

    version: int
    labels: tuple[Label, ...]
    calibrated: Calibration
    multiple: int = 1
    """Ticks of the deployment for each tick of the bundle."""
    stride: int = 1
    """Bundle ticks from one window to the next."""

    @classmethod
    def of(cls, version: int, colours: Iterable[str], **defaults: float) -> ColourLabels:
        """Labels that watch for these colours; `defaults` are thresholds by name."""
        thresholds = {
            "enter": 0.75,
            "exit": 0.5,
            "confirm": 2,
            "backtrack_seconds": 0.5,
            "min_seconds": 0.5,
            "merge_seconds": 1.0,
            "cooldown_seconds": 1.0,
            "max_seconds": 20.0,
        }
        labels = tuple(Label(id=colour, text=f"it is {colour}") for colour in sorted(colours))
        calibrated = Calibration({name: (thresholds | defaults)[name] for name in THRESHOLDS}, {}, 1, 0)
        return cls(version, labels, calibrated)

    @property
    def compares(self) -> bool:
        """False: colours need no example."""
        return False

    def score(
        self, head: Embeddings, pooled: Embeddings, sequences: Sequences | None = None, items: Items | None = None
    ) -> Embeddings:
        """Share of each label's colour in each window, float32 [m, L]."""
        channel = [list(COLOURS).index(label.id) for label in self.labels]
        return head[:, channel]

    @property
    def by_items(self) -> bool:
        """The embedding of a window decides."""
        return False

    def rules(self, camera: str, rate: int) -> EventRules:
        """Thresholds as given to `of`."""
        resolved = resolve(self.labels, self.calibrated, {}, rate=rate, multiple=self.multiple, stride=self.stride)
        return CameraRules(resolved)(camera)


@contextmanager
def mjpeg_camera(jpegs: Sequence[bytes], fps: float, headers: Sequence[str] = ("type", "length")) -> Iterator[str]:
    """The URL of a camera that shows these pictures in a loop, as JPEGs over HTTP (`multipart/x-mixed-replace`).

    headers: what each part has, since cameras leave out what they like: `type` (Content-Type), `length`
    (Content-Length).
    """
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    threading.Thread(target=_accept, args=(listener, stop, jpegs, fps, headers), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/video.mjpg"
    finally:
        stop.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(
    listener: socket.socket, stop: threading.Event, jpegs: Sequence[bytes], fps: float, headers: Sequence[str]
) -> None:
    with suppress(OSError):
        while not stop.is_set():
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, stop, jpegs, fps, headers), daemon=True).start()


def _serve(
    client: socket.socket, stop: threading.Event, jpegs: Sequence[bytes], fps: float, headers: Sequence[str]
) -> None:
    with client, suppress(OSError):
        client.recv(4096)
        answer = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--edge\r\n\r\n"
        client.sendall(answer.encode())
        number = 0
        while not stop.wait(1 / fps):
            jpeg = jpegs[number % len(jpegs)]
            known = {"type": "Content-Type: image/jpeg\r\n", "length": f"Content-Length: {len(jpeg)}\r\n"}
            lines = "--edge\r\n" + "".join(known[one] for one in headers) + "\r\n"
            client.sendall(lines.encode() + jpeg + b"\r\n")
            number += 1
