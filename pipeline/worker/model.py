"""A loaded bundle in a worker: its engine, its window, how pictures and labels are prepared for it.

`Equipment` is everything that depends on the bundle; a swap replaces it as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog

from engines.backends import open_engine
from engines.build.choose import choose
from engines.bundle import files as bundles
from engines.bundle.files import Bundle
from engines.bundle.manifest import Window, check_deployment
from engines.bundle.store import default_store, resolve
from engines.contract import Embeddings, Engine, Images
from engines.preprocess import prepare
from engines.text.text_bank import TextEncoder
from pipeline.analysis import scoring, thresholds
from pipeline.analysis.camera_streams import Geometry
from pipeline.analysis.label_set import LabelSet
from pipeline.analysis.partition import Scores
from pipeline.analysis.scoring import Scorer, ScoreRule
from pipeline.analysis.thresholds import Calibration, EventRules
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.errors import BadRecordError, ConfigurationError
from pipeline.labels.check import LabelCheck
from pipeline.records.jpeg import decode_jpeg
from pipeline.records.labels import Label
from pipeline.worker.decoding import Prepare
from pipeline.worker.label_views import EmbeddingProgress, LabelViews
from pipeline.worker.overload import Relief, steps

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
    _rules: dict[tuple[str, int], EventRules] = field(default_factory=dict)

    def score(self, head: Embeddings, pooled: Embeddings) -> Scores:
        """Probabilities from the temporal head's embeddings [m, D], float32 [m, L]."""
        return scoring.score(self.scorer, head)

    def rules(self, camera: str, rate: int) -> EventRules:
        """Thresholds of one camera, made once. Raises ConfigurationError if they contradict each other."""
        if (camera, rate) not in self._rules:
            resolved = thresholds.resolve(
                self.labels,
                self.calibrated,
                self.defaults,
                rate=rate,
                multiple=max(1, rate // self.window.rate),
                stride=self.window.stride,
            )
            self._rules[camera, rate] = thresholds.for_camera(resolved, camera)
        return self._rules[camera, rate]


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
        """Load and probe. cache: folder for the embeddings of labels; None: no cache. progress: told of each label.

        Raises EngineError, and ConfigurationError for a bundle that carries memory from frame to frame.
        """
        worker, manifest = settings.worker, bundle.manifest
        check_deployment(manifest, rate=settings.rate, rewind_seconds=worker.rewind_seconds)
        self.bundle = bundle
        self.geometry = Geometry(manifest.window.frames, manifest.window.rate, manifest.window.stride)
        window = manifest.window
        self.steps = steps(self.geometry, window.multiples, window.strides, manifest.kind)
        """What may be left out under overload."""
        self.engine = _engine(bundle, worker)
        if self.engine.info.history:
            raise ConfigurationError(
                f"bundle {bundle.label} carries memory from frame to frame, which this worker cannot restore; "
                "choose a bundle without memory"
            )
        self._texts = TextEncoder(bundle, cache=cache, threads=worker.threads or None)
        self.check = LabelCheck(bundle, settings)
        """Which labels this bundle can watch for."""
        self._progress = progress or EmbeddingProgress()
        self._calibrated = thresholds.calibration(manifest.events.model_dump())
        self._defaults = settings.events.model_dump()

    def prepare(self, jpeg: bytes) -> Images:
        """JPEG bytes to the engine's input, uint8 [H, W, 3]. Thread-safe. Raises BadRecordError."""
        image = decode_jpeg(jpeg)
        try:
            return prepare(image, self.bundle.manifest.input)
        except ValueError as error:
            raise BadRecordError("jpeg", f"a frame that the bundle cannot take: {error}") from error

    def embed(self, labels: LabelSet) -> BundleLabels:
        """Embed a label set for scoring, one call at a time.

        A label that this bundle cannot use (it does not know the words, the text is too long, the thresholds contradict
        each other) is left out and logged: it must not stop the others.
        """
        refused = self.check.problems(labels.labels)
        for label in labels.labels:
            if label.id in refused:
                log.error("a label cannot be watched for", label=label.text, reason=refused[label.id])
        usable = tuple(label for label in labels.labels if label.id not in refused)
        manifest = self.bundle.manifest
        score = manifest.score
        embedded = [self._texts.embed_labels([label.text]) for label in self._progress.over(usable)]
        embeddings = np.concatenate([self._texts.embed_labels([]), *embedded])
        bank = self._texts.bank_of([label.text for label in usable], embeddings)
        rule = ScoreRule(score.function, score.logit_scale, score.logit_bias, score.temperature)
        groups = [label.group for label in usable]
        scorer = scoring.prepare(bank.embeddings, bank.reference_embeddings, bank.left_out, groups, rule)
        return BundleLabels(labels.version, usable, scorer, manifest.window, self._calibrated, self._defaults)

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


def _engine(bundle: Bundle, worker: WorkerSettings) -> Engine:
    """Open the backend and precision that the settings name, or the fastest on this host. Raises EngineError."""
    threads = worker.threads or None
    choice = choose(bundle, worker.backend, worker.device, precision=worker.precision, threads=threads)
    engine = open_engine(bundle, choice.backend, worker.device, threads=threads, precision=choice.precision)
    if "auto" in (worker.backend, worker.precision):
        log.info("engine chosen", bundle=bundle.label, backend=engine.info.backend, why=choice.why)
    return engine
