"""Another bundle in place of the one in use, while the loop works on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engines.bundle.files import Bundle
from engines.bundle.store import publish, rollback, watch
from engines.errors import EngineError
from engines.testing import tiny_bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.records.labels import Label
from pipeline.testing import ManualClock
from pipeline.worker import bundle_swap as module
from pipeline.worker.bundle_swap import AGAIN_SECONDS, Outcome, Succession, follow_store
from pipeline.worker.label_views import KnownSets
from pipeline.worker.model import Equipment, Model

SETTINGS = Settings(worker=WorkerSettings(backend="onnxruntime", threads=1))


class Loop:
    """Takes what it is handed when it is told to commit."""

    def __init__(self, equipment: Equipment) -> None:
        self.equipment = equipment
        self.asked = threading.Event()
        self._swap: Equipment | None = None

    def swap(self, equipment: Equipment) -> None:
        """Note what was asked for."""
        self._swap = equipment
        self.asked.set()

    @property
    def swapping(self) -> bool:
        """Until the commit."""
        return self._swap is not None

    def commit(self) -> None:
        """Take it."""
        assert self.asked.wait(20)
        self.asked.clear()
        assert self._swap is not None
        self.equipment, self._swap = self._swap, None


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Makes bundles of one name."""
    return lambda version, **settings: tiny_bundle(tmp_path / version, frames=4, version=version, **settings)


@pytest.fixture
def known() -> KnownSets:
    """A deployment that watches for cyan."""
    known = KnownSets(complete=True)
    known.put(LabelSet((Label("cyan", "cyan"),), 0))
    return known


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty store."""
    return tmp_path / "store"


@pytest.fixture
def opened() -> Iterator[Callable[[Bundle], Model]]:
    """Loads bundles, and closes them in the end."""
    models: list[Model] = []

    def load(bundle: Bundle) -> Model:
        models.append(Model(bundle, SETTINGS))
        return models[-1]

    yield load
    for model in models:
        model.close()


def test_the_loop_takes_a_bundle_that_is_ready_and_the_old_one_is_closed_after(
    store: Path, made: Callable[..., Path], known: KnownSets, opened: Callable[[Bundle], Model]
) -> None:
    """The labels in force are embedded before the loop hears of it.

    loop       old ------------------ | commit | new
    old        in use ------------------------ closed
    new        loaded, labels embedded | asked | in use
    """
    old, new = (opened(publish(store, made(version))) for version in ("0.1.0", "0.2.0"))
    closed: list[Model] = []
    old.close = lambda: closed.append(old)  # type: ignore[method-assign]
    succession = Succession(old, known)
    loop, ended, taken = Loop(succession.equipment), threading.Event(), list[bool]()
    handing = threading.Thread(target=lambda: taken.append(succession.hand_over(new, loop, ended)))
    handing.start()
    assert loop.asked.wait(20)
    assert loop._swap is not None and 0 in loop._swap.views._views
    assert succession.model is old and not closed
    loop.commit()
    handing.join(20)
    assert taken == [True] and closed == [old]
    assert succession.model is new and loop.equipment.engine is new.engine
    assert succession.equipment.views is loop.equipment.views


def test_a_bundle_that_comes_when_the_loop_has_ended_is_closed(
    store: Path, made: Callable[..., Path], known: KnownSets, opened: Callable[[Bundle], Model]
) -> None:
    """Nobody commits any more; the one in use is closed by whoever ends the worker."""
    old, new = (opened(publish(store, made(version))) for version in ("0.1.0", "0.2.0"))
    closed: list[Model] = []
    for one in (old, new):
        one.close = lambda one=one: closed.append(one)  # type: ignore[method-assign, misc]
    succession, ended = Succession(old, known), threading.Event()
    ended.set()
    assert not succession.hand_over(new, Loop(succession.equipment), ended)
    assert closed == [new] and succession.model is old
    succession.close()
    assert closed == [new, old]


@dataclass
class Following:
    """A worker that follows a store, on a thread of its own."""

    store: Path
    succession: Succession
    loop: Loop
    clock: ManualClock = field(default_factory=ManualClock)
    told: list[str] = field(default_factory=list)
    """The version of every bundle that was taken, and what became of the others."""
    heard: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, load: Callable[[Bundle], Model]) -> Iterator[None]:
        """Follow what comes after the version that is current."""
        current = watch(self.store, "tiny")
        assert next(current) is not None
        what = (current, self.succession, self.loop, load, self._ended, self._tell, self.clock.monotonic)
        thread = threading.Thread(target=follow_store, args=what, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(20)

    def hear(self) -> None:
        """Wait until something more was told."""
        assert self.heard.acquire(timeout=20)

    def _tell(self, outcome: Outcome) -> None:
        self.told.append(self.succession.model.bundle.manifest.version if outcome == "taken" else outcome)
        self.heard.release()


@pytest.fixture
def following(
    store: Path,
    made: Callable[..., Path],
    known: KnownSets,
    opened: Callable[[Bundle], Model],
    monkeypatch: pytest.MonkeyPatch,
) -> Following:
    """Version 0.1.0 is current and in use; the store is looked at all the time."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    succession = Succession(opened(publish(store, made("0.1.0"))), known)
    return Following(store, succession, Loop(succession.equipment))


def test_workers_follow_the_store_and_refuse_what_they_cannot_use(
    store: Path, made: Callable[..., Path], opened: Callable[[Bundle], Model], following: Following
) -> None:
    """A version that needs another rate is refused; one that is in use already is no news.

    current    0.1.0     0.2.0     0.3.0 (5 frames/s)   0.2.0        0.1.0
    in use     0.1.0     0.2.0     0.2.0                0.2.0        0.1.0
    """
    with following.running(opened):
        publish(store, made("0.2.0"))
        following.loop.commit()
        following.hear()
        publish(store, made("0.3.0", rate=5))
        following.hear()
        rollback(store, "tiny")
        following.hear()
        rollback(store, "tiny")
        following.loop.commit()
        following.hear()
    assert following.told == ["0.2.0", "refused", "kept", "0.1.0"]
    used = following.loop.equipment.engine.info.version
    assert used == following.succession.model.bundle.manifest.version == "0.1.0"


def test_what_was_refused_is_tried_again(
    store: Path, made: Callable[..., Path], opened: Callable[[Bundle], Model], following: Following
) -> None:
    """What was missing may have been memory; other workers would go on with the new bundle, this one with the old.

    attempts   | no memory | taken
    seconds    0           AGAIN_SECONDS
    """
    attempts = list[Bundle]()

    def load(bundle: Bundle) -> Model:
        attempts.append(bundle)
        if len(attempts) == 1:
            raise EngineError("no memory for a second engine")
        return opened(bundle)

    with following.running(load):
        publish(store, made("0.2.0"))
        following.hear()
        following.clock.advance(AGAIN_SECONDS)
        following.loop.commit()
        following.hear()
    assert following.told == ["refused", "0.2.0"] and len(attempts) == 2
