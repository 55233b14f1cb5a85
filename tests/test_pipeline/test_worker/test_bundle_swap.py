"""Another bundle in place of the one in use, while the worker works on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engines.bundle.arrays import write_golden
from engines.bundle.files import Bundle, Events, load, seal, write_draft
from engines.bundle.manifest import parse
from engines.bundle.store import publish, rollback, watch
from engines.errors import EngineError
from engines.testing import tiny_bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.records.labels import Label
from pipeline.testing import ManualClock
from pipeline.worker import bundle_swap as module
from pipeline.worker.bundle_swap import AGAIN_SECONDS, BundleSwap, Outcome, follow_store
from pipeline.worker.label_views import LabelHistory
from pipeline.worker.model import Equipment, Model

SETTINGS = Settings(worker=WorkerSettings(backend="onnxruntime", threads=1))


class SwappedWorker:
    """Takes what it is handed when it is told to commit."""

    def __init__(self, equipment: Equipment) -> None:
        self.equipment = equipment
        self.requested = threading.Event()
        self._swap: Equipment | None = None

    def swap(self, equipment: Equipment) -> None:
        """Note the request."""
        self._swap = equipment
        self.requested.set()

    @property
    def swapping(self) -> bool:
        """Until the commit."""
        return self._swap is not None

    def commit(self) -> None:
        """Take it."""
        assert self.requested.wait(20)
        self.requested.clear()
        assert self._swap is not None
        self.equipment, self._swap = self._swap, None


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Makes bundles of one name."""
    return lambda version, **settings: tiny_bundle(tmp_path / version, frames=4, version=version, **settings)


@pytest.fixture
def history() -> LabelHistory:
    """A deployment that watches for cyan."""
    history = LabelHistory(complete=True)
    history.put(LabelSet((Label("cyan", "cyan"),), 0))
    return history


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


def test_a_worker_takes_a_bundle_that_is_ready_and_the_old_one_is_closed_after(
    store: Path, made: Callable[..., Path], history: LabelHistory, opened: Callable[[Bundle], Model]
) -> None:
    """The labels in force are embedded before the worker gets the bundle.

    worker     old ------------------ | commit | new
    old        in use ------------------------ closed
    new        loaded, labels embedded | handed over | in use
    """
    old, new = (opened(publish(store, made(version))) for version in ("0.1.0", "0.2.0"))
    closed: list[Model] = []
    old.close = lambda: closed.append(old)  # type: ignore[method-assign]
    bundle_swap = BundleSwap(old, history)
    worker, ended, taken = SwappedWorker(bundle_swap.equipment), threading.Event(), list[bool]()
    handing = threading.Thread(target=lambda: taken.append(bundle_swap.hand_over(new, worker, ended)))
    handing.start()
    assert worker.requested.wait(20)
    assert worker._swap is not None and 0 in worker._swap.label_views._embedded
    assert bundle_swap.model is old and not closed
    worker.commit()
    handing.join(20)
    assert taken == [True] and closed == [old]
    assert bundle_swap.model is new and worker.equipment.engine is new.engine
    assert bundle_swap.equipment.label_views is worker.equipment.label_views


def test_a_bundle_that_comes_when_the_worker_has_ended_is_closed(
    store: Path, made: Callable[..., Path], history: LabelHistory, opened: Callable[[Bundle], Model]
) -> None:
    """No commit takes it any more. The bundle in use is closed when the worker is."""
    old, new = (opened(publish(store, made(version))) for version in ("0.1.0", "0.2.0"))
    closed: list[Model] = []
    for one in (old, new):
        one.close = lambda one=one: closed.append(one)  # type: ignore[method-assign, misc]
    bundle_swap, ended = BundleSwap(old, history), threading.Event()
    ended.set()
    assert not bundle_swap.hand_over(new, SwappedWorker(bundle_swap.equipment), ended)
    assert closed == [new] and bundle_swap.model is old
    bundle_swap.close()
    assert closed == [new, old]


@dataclass
class Following:
    """A worker that follows a store, on a thread of its own."""

    store: Path
    bundle_swap: BundleSwap
    worker: SwappedWorker
    clock: ManualClock = field(default_factory=ManualClock)
    reported: list[str] = field(default_factory=list)
    """The version of every bundle that was taken, and what became of the others."""
    _more: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, load: Callable[[Bundle], Model]) -> Iterator[None]:
        """Follow what comes after the version that is current."""
        current = watch(self.store, "tiny")
        assert next(current) is not None
        what = (current, self.bundle_swap, self.worker, load, self._ended, self._report, self.clock.monotonic)
        thread = threading.Thread(target=follow_store, args=what, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(20)

    def wait(self) -> None:
        """Wait for one more report."""
        assert self._more.acquire(timeout=20)

    def _report(self, outcome: Outcome) -> None:
        self.reported.append(self.bundle_swap.model.bundle.manifest.version if outcome == "taken" else outcome)
        self._more.release()


@pytest.fixture
def following(
    store: Path,
    made: Callable[..., Path],
    history: LabelHistory,
    opened: Callable[[Bundle], Model],
    monkeypatch: pytest.MonkeyPatch,
) -> Following:
    """Version 0.1.0 is current and in use; the store is checked all the time."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    bundle_swap = BundleSwap(opened(publish(store, made("0.1.0"))), history)
    return Following(store, bundle_swap, SwappedWorker(bundle_swap.equipment))


def test_workers_follow_the_store_and_refuse_what_they_cannot_use(
    store: Path, made: Callable[..., Path], opened: Callable[[Bundle], Model], following: Following
) -> None:
    """A version that needs another rate is refused; one that is in use already is kept.

    current    0.1.0     0.2.0     0.3.0 (5 frames/s)   0.2.0        0.1.0
    in use     0.1.0     0.2.0     0.2.0                0.2.0        0.1.0
    """
    with following.running(opened):
        publish(store, made("0.2.0"))
        following.worker.commit()
        following.wait()
        publish(store, made("0.3.0", rate=5))
        following.wait()
        rollback(store, "tiny")
        following.wait()
        rollback(store, "tiny")
        following.worker.commit()
        following.wait()
    assert following.reported == ["0.2.0", "refused", "kept", "0.1.0"]
    used = following.worker.equipment.engine.info.version
    assert used == following.bundle_swap.model.bundle.manifest.version == "0.1.0"


def test_what_was_refused_is_tried_again(
    store: Path, made: Callable[..., Path], opened: Callable[[Bundle], Model], following: Following
) -> None:
    """The cause may have been a lack of memory; without a further attempt only this worker would keep the old one.

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
        following.wait()
        following.clock.advance(AGAIN_SECONDS)
        following.worker.commit()
        following.wait()
    assert following.reported == ["refused", "0.2.0"] and len(attempts) == 2


def test_a_bundle_that_would_do_harm_is_refused(
    store: Path,
    made: Callable[..., Path],
    history: LabelHistory,
    opened: Callable[[Bundle], Model],
    following: Following,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A label would be lost, every window would be an event, the probe differs: nothing changes for any of them.

    0.2.0  does not know the word cyan                refused
    0.3.0  enter 0                                    refused
    0.4.0  its probe says something else                refused
    0.5.0  as before                                  taken
    """
    history.put(LabelSet((Label("cyan", "cyan"), Label("red", "red")), 1))
    defaults = following.bundle_swap.model.bundle.manifest.events.defaults
    always = Events(defaults=defaults.model_copy(update={"enter": 0.0, "exit": 0.0}), calibrated=True)
    whole = made("0.5.0", seed=3)
    with following.running(opened):
        forgetful = without_words(made("0.2.0"), "cyan", "y", "##y")
        for path in (forgetful, made("0.3.0", events=always), with_other_probe(made("0.4.0"))):
            publish(store, path)
            following.wait()
        publish(store, whole)
        following.worker.commit()
        following.wait()
    assert following.reported == ["refused", "refused", "refused", "0.5.0"]
    shown = capsys.readouterr().out
    assert "would lose labels that are watched for: cyan (" in shown and "red (" not in shown
    assert "an enter threshold of 0 for the defaults" in shown and "off the golden probe" in shown


def test_a_bundle_whose_text_network_is_broken_is_refused_although_no_text_needs_it(
    store: Path, made: Callable[..., Path], following: Following, tmp_path: Path
) -> None:
    """Every label in force is in the cache of embeddings; the next one that is added would be the first to notice.

    0.2.0  its texts say something else than its probe      refused
    0.3.0  its probe is whole                               taken
    """
    models: list[Model] = []

    def load(bundle: Bundle) -> Model:
        models.append(Model(bundle, SETTINGS, cache=tmp_path / "texts"))
        return models[-1]

    embedded = load(following.bundle_swap.model.bundle)
    embedded.embed(following.bundle_swap.in_use()[0])
    with following.running(load):
        publish(store, with_other_texts(made("0.2.0")))
        following.wait()
        publish(store, made("0.3.0"))
        following.worker.commit()
        following.wait()
    for model in models:
        model.close()
    assert following.reported == ["refused", "0.3.0"]


def without_words(path: Path, *words: str) -> Path:
    """A bundle that does not know these words any more, sealed again."""
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    for word in words:
        del tokenizer["model"]["vocab"][word]
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    return sealed_again(path)


def with_other_probe(path: Path) -> Path:
    """A bundle whose golden probe says something else than its networks, sealed again."""
    golden = load(path).golden()
    write_golden(path, replace(golden, head=-golden.head))
    return sealed_again(path)


def with_other_texts(path: Path) -> Path:
    """A bundle whose golden probe has other embeddings of its texts, sealed again."""
    golden = load(path).golden()
    write_golden(path, replace(golden, text_embeddings=-golden.text_embeddings))
    return sealed_again(path)


def sealed_again(path: Path) -> Path:
    """A bundle whose files were changed by its maker."""
    write_draft(path, parse((path / "bundle.json").read_bytes(), "bundle.json")[0])
    seal(path)
    return path
