"""A loaded bundle in a worker: its engine, its window, how pictures and labels are prepared for it.

`Equipment` is everything that depends on the bundle; a swap replaces it as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

from engines.backends import open_engine
from engines.backends.shared import SharedEngine
from engines.build.choose import choose
from engines.bundle import files as bundles
from engines.bundle.deployment import check_deployment
from engines.bundle.files import Bundle
from engines.bundle.manifest import Window
from engines.bundle.store import default_store, resolve
from engines.contract import Embeddings, Engine, Images, Items, Sequences
from engines.preprocess import prepare
from engines.text import examples as matching
from engines.text.examples import ExampleScorer, Prototypes, rule_of
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
from pipeline.examples.encoding import NO_EXAMPLES, ExampleEncoder, ExampleSource, WindowForm
from pipeline.labels.check import LabelCheck
from pipeline.labels.reporting import log_refused
from pipeline.records.jpeg import decode_jpeg
from pipeline.records.labels import Label
from pipeline.worker.decoding import Prepare
from pipeline.worker.label_views import EmbeddingProgress, LabelViews
from pipeline.worker.overload import Relief, steps

TEXTS_REST_SECONDS = 60.0
"""How long the text network stays in memory after a label that had to be embedded: people add several in a row."""

_GONE = "its examples are not there any more; enrol them again, or remove the label"

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


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """The labels of a set that are taught by example."""

    columns: npt.NDArray[np.intp]
    """Their places in the set."""
    scorer: ExampleScorer


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
    taught: Taught | None = None
    """Labels that name examples; None: there are none."""
    salient: Salient | None = None
    """Where the manifest's rule is saliency."""
    _rules: dict[int, CameraRules] = field(default_factory=dict)

    @property
    def compares(self) -> bool:
        """True where windows are compared with examples."""
        return self.taught is not None

    @property
    def by_items(self) -> bool:
        """True where texts pool the items of a window by their words."""
        return self.salient is not None

    def score(
        self, head: Embeddings, pooled: Embeddings, sequences: Sequences | None = None, items: Items | None = None
    ) -> Scores:
        """Probabilities from the temporal head's embeddings [m, D], float32 [m, L]; see `partition.LabelView`."""
        if self.salient is None:
            found = scoring.score(self.scorer, head)
        else:
            assert items is not None  # `by_items` asks for them
            found = saliency.score(self.salient, items)
        if self.taught is not None and sequences is not None and len(found):
            columns, scorer = self.taught.columns, self.taught.scorer
            of_examples = matching.score(scorer, sequences)
            found[:, columns] = matching.blend(found[:, columns], of_examples, scorer.rule.beta)
        return found

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
        examples: ExampleSource = NO_EXAMPLES,
    ) -> None:
        """Load and probe. The text network is proven too, once on each host, and else opened with the first text that
        is not in the cache.

        cache: folder for the embeddings of labels; None: no cache. progress: told of each label.
        examples: those that labels name.

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
            words, threads = manifest.score.rule == "saliency", worker.threads or None
            self._words = WordEncoder(bundle, threads=threads) if words else None
            self.engine: Engine = SharedEngine(_engine(bundle, worker))
            unless_loaded.pop_all()
        self._product = _product(manifest.space.dimensions)
        self._rate = settings.rate
        info, form = self.engine.info, manifest.input
        self.origin = (info.space, info.kind, info.backend, info.device, info.precision, form.resize, form.crop)
        """What decides the items of this bundle. The space names the networks, and with them the size of pictures."""
        self.examples = ExampleEncoder(
            self.engine,
            WindowForm(window.frames, window.rate),
            self.prepare,
            examples,
            self.origin,
        )
        """What was shown of labels, in the space of this bundle."""
        self._classes = bundle.class_prototypes()
        self._gone: dict[Label, str] = {}
        """Labels of the newest embedded set whose examples are not there."""
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
        check = self.check.problems(labels.labels)
        readable = [label for label in labels.labels if label.id not in check]
        score = self.bundle.manifest.score
        bank = self._texts.bank([label.text for label in readable], self._progress.over)
        taught = ((row, label) for row, label in enumerate(readable) if label.examples)
        texts = ((label, self._text_of(label, bank.embeddings[row])) for row, label in taught)
        prototypes = self.examples.prototypes(texts, self._progress.over)
        self._gone = {label: _GONE for label in readable if label.examples and label.id not in prototypes}
        log_refused(labels.labels, check | {label.id: reason for label, reason in self._gone.items()})
        kept = [row for row, label in enumerate(readable) if label not in self._gone]
        usable = tuple(readable[row] for row in kept)
        rule = ScoreRule(score.function, score.logit_scale, score.logit_bias, score.temperature)
        groups = [label.group for label in usable]
        known, references = bank.embeddings[kept], bank.reference_embeddings
        if self._words is not None:
            known, references = average(known)[:, None], average(references)[:, None]
        scorer = scoring.prepare(known, references, bank.left_out[kept], groups, rule, self._product)
        found = BundleLabels(
            labels.version,
            usable,
            scorer,
            self.bundle.manifest.window,
            self._calibrated,
            self._defaults,
            self._taught(usable, prototypes, bank),
            None if self._words is None else self._salient(scorer, usable, self._words),
        )
        found.at(self._rate)  # here, and not by the first frame that needs it: it takes long for many labels
        return found

    def problems(self, labels: Iterable[Label]) -> dict[str, str]:
        """The reason of every label that cannot be watched for, by id: as `check` says, or its examples are gone."""
        labels = list(labels)
        gone = {label.id: self._gone[label] for label in labels if label in self._gone}
        return gone | self.check.problems(labels)

    def example_windows(self, label: Label) -> Items | None:
        """A window of items for each example of a label, [k, T, ...]; None where one is not there."""
        return self.examples.windows(label)

    def _text_of(self, label: Label, embeddings: Embeddings) -> Embeddings:
        """The text of a label as `Engine.prototypes` takes it."""
        return average(embeddings[None]) if self.bundle.manifest.examples is None else self._texts.raw(label.text)

    def _taught(self, labels: Sequence[Label], prototypes: Mapping[str, Prototypes], bank: TextBank) -> Taught | None:
        columns = [column for column, label in enumerate(labels) if label.id in prototypes]
        if not columns:
            return None
        found = [prototypes[labels[column].id] for column in columns]
        rule, form = rule_of(self.bundle.manifest), found[0].positives.shape[1:]
        known = self._classes.sequences if self._classes else np.zeros((0, *form), np.float32)
        own = self._own_classes([labels[column] for column in columns], bank)
        return Taught(np.array(columns, np.intp), matching.prepare(found, known, rule, self._product, own))

    def _own_classes(self, labels: Sequence[Label], bank: TextBank) -> npt.NDArray[np.bool_]:
        """Which classes of training a label is itself, as its text says: bool [L, R]."""
        names = self._classes.texts if self._classes else ()
        synonyms = dict(zip(bank.labels, bank.left_out, strict=True))
        places = [bank.references.index(name) if name in bank.references else None for name in names]
        rows = [[place is not None and bool(synonyms[label.text][place]) for place in places] for label in labels]
        return np.array(rows, np.bool_).reshape(len(labels), len(names))

    def _salient(self, scorer: Scorer, labels: Sequence[Label], words: WordEncoder) -> Salient:
        found = words.words([*(label.text for label in labels), *self.bundle.references().texts])
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
    examples: ExampleSource = NO_EXAMPLES,
) -> Model:
    """Load the bundle that the settings name. Raises EngineError, ConfigurationError.

    cache: folder in which embeddings of labels are kept from run to run, by embedding space; None: no cache.
    progress: told of each label that is embedded. examples: those that labels name.
    """
    bundle = bundles.load(resolve(settings.worker.bundle, default_store()), allow_draft=allow_draft)
    return Model(bundle, settings, cache=cache, progress=progress, examples=examples)


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
