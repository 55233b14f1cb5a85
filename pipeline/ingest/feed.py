"""One camera inside ingest: its reader, and which of its frames have reached the broker."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from pipeline.camera.backoff import Backoff
from pipeline.camera.condition import Condition
from pipeline.camera.fit import Fit, fit_frame
from pipeline.camera.reader import Camera
from pipeline.camera.sampling import SampledFrame
from pipeline.camera.source_settings import SourceSettings
from pipeline.config.cameras import CameraSettings
from pipeline.config.settings import Settings
from pipeline.metrics import IngestMetrics
from pipeline.records.cameras import CameraStatus
from pipeline.records.frames import FrameRecord
from pipeline.records.jpeg import encode_jpeg


class Feed:
    """A camera that is being read.

    outbox: takes each record, on the camera's thread, and returns how many older ones it dropped for it.
    after_session: sessions begin later than this one (ms). fit: what its next frame is scaled to.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        camera: CameraSettings,
        outbox: Callable[[FrameRecord], int],
        metrics: IngestMetrics,
        after_session: int,
        fit: Callable[[], Fit] = lambda: None,
    ) -> None:
        ingest = settings.ingest
        self.name = name
        self.settings = camera
        self.dropped = 0
        """Frames that the broker did not take, since the process started."""
        self.last_status: CameraStatus | None = None
        """The last status that was sent."""
        self.last_status_at = 0.0
        """When it was sent, in monotonic seconds."""
        self.reconnects = self.corrupt = self.untimed = 0
        """How many of each the metrics have counted."""
        self.marked: int | None = None
        """The session whose end marker the broker has."""
        self.marking = False
        """True while an end marker is in flight."""
        self.oversized = False
        """True once a frame exceeded the broker's limit and that was logged."""
        self._metrics = metrics
        self._quality = ingest.jpeg_quality
        self._outbox = outbox
        self._fit = fit
        self._delivered: tuple[int, int] | None = None
        self._session: int | None = None
        self._answered = time.monotonic()
        """When the broker last acknowledged a frame, or the session began."""
        self._lock = threading.Lock()
        self._retired = False
        self.camera = Camera(
            name,
            SourceSettings(
                camera.url.get_secret_value(),
                camera.transport,
                ingest.open_seconds,
                ingest.stall_seconds,
                ingest.short_side,
                ingest.key_picture_seconds,
            ),
            rate=settings.rate,
            deliver=self._compress,
            backoff=Backoff(ingest.backoff_seconds, ingest.backoff_max_seconds, random.Random()),
            tolerance_seconds=ingest.clock_tolerance_seconds,
            loop=camera.loop,
            after_session=after_session,
        )

    def retire(self) -> None:
        """Stop reading. No record is delivered after this returns."""
        with self._lock:
            self._retired = True
        self.camera.stop(0.0)

    @property
    def last_published(self) -> tuple[int, int] | None:
        """(session, tick) of the newest frame that the broker has acknowledged."""
        with self._lock:
            return self._delivered

    @property
    def lacks_end(self) -> bool:
        """True while the topic lacks an end marker of the newest session of which it has frames."""
        published = self.last_published
        return published is not None and self.marked != published[0]

    def acknowledged(self, record: FrameRecord) -> None:
        """Note that the broker has this frame."""
        with self._lock:
            self._delivered = (record.session, record.tick)
            self._answered = time.monotonic()
        self._metrics.published(self.name, len(record.jpeg))

    def renew(self, limit: float) -> None:
        """Let the next picture open a newer session when the broker has acknowledged no frame for `limit` seconds.

        To workers the camera is silent meanwhile. They end a session that stays silent for too long, for good, so later
        frames of it would not count.
        """
        now = time.monotonic()
        with self._lock:
            if now - self._answered < limit:
                return
            self._answered = now
        self.camera.renew()

    def lost(self, reason: str, count: int = 1) -> None:
        """Count frames that will not reach the broker."""
        with self._lock:
            self.dropped += count
        self._metrics.dropped(reason, count)

    def count(self, condition: Condition) -> None:
        """Bring the metrics up to the camera's condition."""
        for _ in range(condition.reconnects - self.reconnects):
            self._metrics.reconnect()
        self._metrics.unusable(self.name, "damaged", condition.corrupt - self.corrupt)
        self._metrics.unusable(self.name, "untimed", condition.untimed - self.untimed)
        self.reconnects, self.corrupt, self.untimed = condition.reconnects, condition.corrupt, condition.untimed
        self._metrics.camera(self.name, condition.state)

    def _compress(self, frame: SampledFrame) -> None:
        with self._metrics.stage("compress"):
            frame = fit_frame(frame, self._fit())
            record = frame.record(encode_jpeg(frame.image, self._quality))
        with self._lock:
            if record.session != self._session:
                self._session, self._answered = record.session, time.monotonic()
            dropped = 0 if self._retired else self._outbox(record)
        if dropped:
            self.lost("queue", dropped)
