"""Frames that wait for the broker. Each camera has a bounded share; when it is full, its oldest frame goes. Pure."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from pipeline.records.frames import FrameRecord


@dataclass(slots=True)
class _Share:
    """One camera's part of the outbox."""

    queue: deque[FrameRecord] = field(default_factory=deque)
    in_flight: int = 0
    queued: bool = False
    """The camera is in the queue of those that may send."""


class Outbox:
    """Frames on their way from the cameras' threads to the thread that sends.

    capacity: frames of one camera that may wait, queued and in flight together. At most half of them are in flight at a
    time, because what the client holds can no longer be dropped. Cameras take turns; the frames of one camera keep
    their order. Every method may be called from any thread, and none blocks.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = max(2, capacity)
        self._shares: dict[str, _Share] = {}
        self._turns: deque[str] = deque()
        self._lock = threading.Lock()

    def put(self, frame: FrameRecord) -> int:
        """Add a frame, and return how many older frames of this camera were dropped for it."""
        with self._lock:
            share = self._shares.setdefault(frame.camera, _Share())
            dropped = 0
            while share.queue and len(share.queue) + share.in_flight >= self.capacity:
                share.queue.popleft()
                dropped += 1
            share.queue.append(frame)
            self._enqueue(frame.camera, share)
            return dropped

    def take(self) -> FrameRecord | None:
        """The next frame to send; None when none may be sent now. Call `settle` once its fate is known."""
        with self._lock:
            if not self._turns:
                return None
            camera = self._turns.popleft()
            share = self._shares[camera]
            share.queued = False
            frame = share.queue.popleft()
            share.in_flight += 1
            self._enqueue(camera, share)
            return frame

    def settle(self, camera: str) -> None:
        """Note that a frame that was taken has been acknowledged or given up."""
        with self._lock:
            share = self._shares[camera]
            share.in_flight -= 1
            self._enqueue(camera, share)

    def waiting(self, camera: str) -> int:
        """Frames of a camera that are queued or in flight."""
        with self._lock:
            share = self._shares.get(camera)
            return len(share.queue) + share.in_flight if share else 0

    def forget(self, camera: str) -> None:
        """Free the share of a camera that has no frames waiting and puts no more."""
        with self._lock:
            self._shares.pop(camera, None)

    def _enqueue(self, camera: str, share: _Share) -> None:
        if share.queue and not share.queued and share.in_flight < max(1, self.capacity // 2):
            share.queued = True
            self._turns.append(camera)
