"""What a worker counts to judge a bundle that it took: started events and watched time, before the swap and after it.

    | 5 min | 5 min | ... | 5 min |  swap  | up to an hour |
    |  at most the last hour, A   |        |      B        |      then B has proven itself

All times are stream time, per camera: an hour is an hour of every camera. Only events of labels that were watched for
throughout are counted, so one that is added or that only the other bundle can read changes nothing. A worker that was
started again remembers nothing and judges nothing until the next swap. `pipeline.analysis.doubled_rate` has the rule.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.analysis.doubled_rate import Counted, more_than_doubled

WINDOW_SECONDS = 3600.0
"""How much of each camera's time is compared on either side."""
_STRETCH_SECONDS = 300.0


@dataclass(slots=True)
class Stretch:
    """Some time in which one bundle watched for the same labels."""

    labels: frozenset[str]
    """Ids."""
    seconds: float = 0.0
    """Watched, of all cameras together."""
    cameras: set[str] = field(default_factory=set)
    started: Counter[str] = field(default_factory=Counter)
    """Events, by label id."""

    @property
    def per_camera(self) -> float:
        """Watched seconds of one camera."""
        return self.seconds / max(1, len(self.cameras))


@dataclass(frozen=True, slots=True)
class Doubled:
    """A bundle that says more than twice as many events as the one before it."""

    before: Counted
    after: Counted


class EventRate:
    """Counts for the bundle in use and for the one before it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bundle: str | None = None
        self._before: tuple[Stretch, ...] = ()
        """Of the bundle before; empty once there is nothing to judge."""
        self._stretches: deque[Stretch] = deque([Stretch(frozenset())])
        """Of the bundle in use, the newest last."""

    def use(self, bundle: str) -> None:
        """The bundle of this id is in use from now on; counting begins anew where it is another one."""
        with self._lock:
            self._use(bundle)

    def watch(self, labels: Iterable[str]) -> None:
        """Labels of these ids are watched for from now on."""
        found = frozenset(labels)
        with self._lock:
            newest = self._stretches[-1]
            if found != newest.labels and (newest.seconds or newest.started):
                self._stretches.append(Stretch(found))
            else:
                newest.labels = found

    def covered(self, cameras: Iterable[str], seconds: float) -> None:
        """So much stream time of these cameras, all together, was watched."""
        with self._lock:
            newest = self._stretches[-1]
            newest.seconds += seconds
            newest.cameras.update(cameras)
            if newest.per_camera >= _STRETCH_SECONDS:
                self._stretches.append(Stretch(newest.labels))
                if not self._before:
                    self._forget_oldest()

    def started(self, bundle: str, label: str) -> None:
        """An event of a label was started by the bundle of this id."""
        with self._lock:
            self._use(bundle)
            self._stretches[-1].started[label] += 1

    def doubled(self) -> Doubled | None:
        """What was counted, where it says so of the bundle in use; once after each swap."""
        with self._lock:
            if not self._before:
                return None
            throughout = frozenset.intersection(*{one.labels for one in (*self._before, *self._stretches)})
            found = Doubled(_counted(self._before, throughout), _counted(self._stretches, throughout))
            if more_than_doubled(found.before, found.after):
                self._before = ()
                return found
            if sum(one.per_camera for one in self._stretches) >= WINDOW_SECONDS:
                self._before = ()
            return None

    def _use(self, bundle: str) -> None:
        if self._bundle is None:
            self._bundle = bundle
        elif self._bundle != bundle:
            self._bundle, labels = bundle, self._stretches[-1].labels
            self._before = tuple(self._stretches)
            self._stretches = deque([Stretch(labels)])

    def _forget_oldest(self) -> None:
        while sum(one.per_camera for one in self._stretches) - self._stretches[0].per_camera >= WINDOW_SECONDS:
            self._stretches.popleft()


def _counted(stretches: Iterable[Stretch], labels: frozenset[str]) -> Counted:
    events = seconds = 0.0
    for one in stretches:
        events += sum(count for label, count in one.started.items() if label in labels)
        seconds += one.seconds
    return Counted(int(events), seconds / 3600)
