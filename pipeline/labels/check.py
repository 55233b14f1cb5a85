"""Whether a label can be watched for with a bundle and these settings; else the reason. Needs no runtime.

A label is refused where its words are unknown to the bundle, its text is too long, or its thresholds contradict each
other once they are merged with `events` and with what calibration measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from engines.bundle.files import Bundle, load
from engines.bundle.store import DEMO, default_store, resolve
from engines.errors import BundleNotFound, EngineError, TextError
from engines.text.label_tokenizer import LabelTokenizer
from pipeline.analysis import thresholds
from pipeline.analysis.label_set import LabelSets
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.records.label_report import LabelReport
from pipeline.records.labels import Label

KEPT = 32_768
"""Labels whose answer is remembered: a set is checked again with every change of it."""


class LabelCheck:
    """Checks labels against one bundle and the thresholds of the settings. Thread-safe."""

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        """Read the bundle's tokenizer. Raises BundleError."""
        self.bundle = bundle
        self._tokenizer = LabelTokenizer(bundle)
        self._calibrated = thresholds.calibration(bundle.manifest.events.model_dump())
        self._defaults: Mapping[str, float | None] = settings.events.model_dump()
        self.problem = lru_cache(KEPT)(self._problem)
        """Why nobody can watch for a label; None where it is well."""

    @property
    def words(self) -> int | None:
        """How many words the bundle knows; None where it knows every word."""
        return self._tokenizer.words

    def problems(self, labels: Iterable[Label]) -> dict[str, str]:
        """The reason of every label that cannot be watched for, by id."""
        return {label.id: reason for label in labels if (reason := self.problem(label)) is not None}

    def require(self, labels: Iterable[Label]) -> None:
        """Raises ConfigurationError with every reason, where one of these labels cannot be watched for."""
        if problems := self.problems(labels):
            raise ConfigurationError("; ".join(problems.values()))

    def _problem(self, label: Label) -> str | None:
        try:
            thresholds.resolve([label], self._calibrated, self._defaults, rate=1)
            self._tokenizer.label(label.text)
        except (ConfigurationError, TextError) as error:
            return str(error)
        return None


def check_of(settings: Settings, *, allow_draft: bool = False) -> LabelCheck:
    """A check against the bundle that the settings name. Raises EngineError where it does not load."""
    path = resolve(settings.worker.bundle, default_store())
    return LabelCheck(load(path, allow_draft=allow_draft, check_files=False), settings)


def check_in_force(settings: Settings, sets: LabelSets) -> LabelCheck:
    """A check against the bundle that the workers of the group say they run; the one of the settings before any did.

    Raises EngineError where that bundle is not on this machine.
    """
    report = sets.reports.get(settings.worker.group)
    return check_of(settings) if report is None else LabelCheck(_reported(settings, report), settings)


def _reported(settings: Settings, report: LabelReport) -> Bundle:
    """The bundle of a report, wherever it is on this machine."""
    for reference in (settings.worker.bundle, f"{report.name}@{report.version}", DEMO):
        try:
            bundle = load(resolve(reference, default_store()), check_files=False)
        except EngineError:
            continue
        if bundle.manifest.id == report.bundle:
            return bundle
    raise BundleNotFound(
        f"the workers run the bundle {report.name}@{report.version} ({report.bundle[:12]}), which is not on this "
        "machine; name it with `worker.bundle`, or publish it to the store"
    )
