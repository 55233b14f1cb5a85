"""A loaded bundle in a worker: its engine, its window, how pictures and labels are prepared for it.

`Equipment` is everything that depends on the bundle; a swap replaces it as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from engines.backends import open_engine
from engines.build.choose import choose
from engines.bundle import files as bundles
from engines.bundle.files import Bundle
from engines.bundle.manifest import Window, check_deployment
from engines.bundle.store import default_store, resolve
from engines.contract import Embeddings, Engine, Images, Items
from engines.preprocess import prepare
from engines.text.similarity import proven_product
from engines.text.text_bank import TextBank, average
from engines.text.text_memory import TextMemory
from engines.text.words import WordEncoder
from pipeline.analysis import saliency, scoring, thresholds
from pipeline.analysis.camera_streams import Geometry
from pipeline.analysis.label_set import LabelSet
from pipeline.analysis.partition import Scores
from pipeline.analysis.saliency import Salient
from pipeline.analysis.scoring import Scorer, ScoreRule
from pipeline.analysis.thresholds import Calibration, CameraRules, EventRules
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.errors import BadRecordError
from pipeline.labels.check import LabelCheck
from pipeline.labels.reporting import log_refused
from pipeline.records.jpeg import decode_jpeg
from pipeline.records.labels import Label
from pipeline.worker.decoding import Prepare
from pipeline.worker.label_views import EmbeddingProgress, LabelViews
from pipeline.worker.overload import Relief, steps

TEXTS_REST_SECONDS = 60.0
"""How long the text network stays in memory after a label that had to be embedded: people add several in a row."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Equipment:
    """An engine and everything that fits this engine only."""

    engine: Engine
    geometry: Geometry
    prepare: Prepare
    label_views: LabelViews
    steps: tuple[Relief, ...] = ()
    """What may be left out under overload, least first; the first entry leaves out nothing."""
    origin: object = field(default_factory=object)
    """Equal where the items of two engines are the same, bit for bit."""


@dataclass(slots=True)
class SwapRequest:
    """Equipment on its way to the inference thread, set by any other thread."""

    equipment: Equipment | None = None
    """Taken at the next commit. It is None again once nothing works with the old equipment."""


@dataclass(frozen=True, slots=True)
class BundleLabels:
    """A version of the label set in a bundle's embedding space; a `partition.LabelView`."""

    version: int
    labels: tuple[Label, ...]
    scorer: Scorer
    window: Window
    calibrated: Calibration
    defaults: Mapping[str, float | None]
    """The deployment's own thresholds; None: as calibrated."""
    salient: Salient | None = None
    """Where the manifest's rule is saliency."""
    _rules: dict[int, CameraRules] = field(default_factory=dict)

    @property
    def by_items(self) -> bool:
        """See `partition.LabelView.by_items`."""
        return self.salient is not None

    def score_items(self, windows: Items) -> Scores:
        """Probabilities from the items [m, T, D] of windows, float32 [m, L]."""
        assert self.salient is not None  # `by_items` says so
        return saliency.score(self.salient, windows)

    def score(self, head: Embeddings, pooled: Embeddings) -> Scores:
        """Probabilities from the temporal head's embeddings [m, D], float32 [m, L]."""
        return scoring.score(self.scorer, head)

    def rules(self, camera: str, rate: int) -> EventRules:
        """Thresholds of one camera, made once. Raises ConfigurationError if they contradict each other."""
        return self.at(rate)(camera)

    def at(self, rate: int) -> CameraRules:
        """Thresholds of all cameras of this rate, made once. Raises ConfigurationError like `rules`."""
        if rate not in self._rules:
            resolved = thresholds.resolve(
                self.labels,
                self.calibrated,
                self.defaults,
                rate=rate,
                multiple=max(1, rate // self.window.rate),
                stride=self.window.stride,
            )
            self._rules[rate] = CameraRules(resolved)
        return self._rules[rate]


class Model:
    """A loaded bundle. Its engine belongs to one thread; `prepare` may be called from any."""

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings,
        *,
        cache: Path | None = None,
        progress: EmbeddingProgress | None = None,
    ) -> None:
        """Load and probe. The text network is proven too, once on each host, and else opened with the first text that
        is not in the cache.

        cache: folder for the embeddings of labels; None: no cache. progress: told of each label.

        Raises EngineError.
        """
        worker, manifest = settings.worker, bundle.manifest
        check_deployment(manifest, rate=settings.rate, rewind_seconds=worker.rewind_seconds)
        self.bundle = bundle
        window = manifest.window
        self.geometry = Geometry(window.frames, window.rate, window.stride, history=manifest.history)
        self.steps = steps(self.geometry, window.multiples, window.strides, manifest.kind)
        """What may be left out under overload."""
        self._texts = TextMemory(bundle, cache=cache, threads=worker.threads or None)
        with ExitStack() as unless_loaded:
            unless_loaded.callback(self._texts.close)
            self._texts.prove()
            self._words = (
                WordEncoder(bundle, threads=worker.threads or None) if manifest.score.rule == "saliency" else None
            )
            self.engine = _engine(bundle, worker)
            unless_loaded.callback(self.engine.close)
            unless_loaded.pop_all()
        self._product = _product(manifest.space.dimensions)
        self._rate = settings.rate
        info, form = self.engine.info, manifest.input
        self.origin = (info.space, info.kind, info.backend, info.device, info.precision, form.resize, form.crop)
        """What decides the items of this bundle. The space names the networks, and with them the size of pictures."""
        self.check = LabelCheck(bundle, settings)
        """Which labels this bundle can watch for."""
        self._progress = progress or EmbeddingProgress()
        self._calibrated = thresholds.calibration(manifest.events.model_dump())
        self._defaults = settings.events.model_dump()

    def prepare(self, jpeg: bytes, pixel: float = 1.0) -> Images:
        """JPEG bytes to the engine's input, uint8 [H, W, 3]. Thread-safe. Raises BadRecordError.

        pixel: width of one of its pixels by its height (`FrameRecord.pixel`).
        """
        image = decode_jpeg(jpeg)
        try:
            return prepare(image, self.bundle.manifest.input, pixel)
        except ValueError as error:
            raise BadRecordError("jpeg", f"a frame that the bundle cannot take: {error}") from error

    def embed(self, labels: LabelSet) -> BundleLabels:
        """Embed a label set for scoring, one call at a time.

        A label that this bundle cannot use (it does not know the words, the text is too long, the thresholds contradict
        each other) is left out and logged: it must not stop the others.
        """
        refused = self.check.problems(labels.labels)
        log_refused(labels.labels, refused)
        usable = tuple(label for label in labels.labels if label.id not in refused)
        manifest = self.bundle.manifest
        score = manifest.score
        bank = self._texts.bank([label.text for label in usable], self._progress.over)
        rule = ScoreRule(score.function, score.logit_scale, score.logit_bias, score.temperature)
        groups = [label.group for label in usable]
        known, references, left_out = bank.embeddings, bank.reference_embeddings, bank.left_out
        if self._words is not None:
            known, references = average(known)[:, None], average(references)[:, None]
        scorer = scoring.prepare(known, references, left_out, groups, rule, self._product)
        salient = None if self._words is None else self._salient(scorer, bank, self._words)
        found = BundleLabels(labels.version, usable, scorer, manifest.window, self._calibrated, self._defaults, salient)
        found.at(self._rate)  # here, and not by the first frame that needs it: it takes long for many labels
        return found

    def _salient(self, scorer: Scorer, bank: TextBank, words: WordEncoder) -> Salient:
        found = words.words([*bank.labels, *bank.references])
        words.close()
        return saliency.prepare_words(scorer, found, self._product)

    def rest(self) -> None:
        """Release what only new labels need, once there were none for a while. May be called from any thread."""
        self._texts.rest(TEXTS_REST_SECONDS)

    def close(self) -> None:
        """Release the networks."""
        self.engine.close()
        self._texts.close()


def load_model(
    settings: Settings,
    *,
    allow_draft: bool = False,
    cache: Path | None = None,
    progress: EmbeddingProgress | None = None,
) -> Model:
    """Load the bundle that the settings name. Raises EngineError, ConfigurationError.

    cache: folder in which embeddings of labels are kept from run to run, by embedding space; None: no cache.
    progress: told of each label that is embedded.
    """
    bundle = bundles.load(resolve(settings.worker.bundle, default_store()), allow_draft=allow_draft)
    return Model(bundle, settings, cache=cache, progress=progress)


def _product(dimensions: int) -> Callable[[Embeddings], scoring.Product]:
    """The fast product of windows and texts, where this host was shown to give the same bits in any company."""
    if (found := proven_product(dimensions)) is None:
        log.warning("similarities are computed one by one: here the fast product depends on what is computed with it")
    return found or scoring.one_by_one


def _engine(bundle: Bundle, worker: WorkerSettings) -> Engine:
    """Open the backend and precision that the settings name, or the fastest on this host. Raises EngineError."""
    threads = worker.threads or None
    said: list[str] = []

    def told(what: str, done: float) -> None:
        if what not in said[-1:]:
            said.append(what)
            log.info("an engine is built", step=what, done=f"{done:.0%}")

    choice = choose(bundle, worker.backend, worker.device, precision=worker.precision, threads=threads, told=told)
    engine = open_engine(bundle, choice.backend, worker.device, threads=threads, precision=choice.precision, told=told)
    if "auto" in (worker.backend, worker.precision):
        log.info("engine chosen", bundle=bundle.label, backend=engine.info.backend, why=choice.why)
    return engine
