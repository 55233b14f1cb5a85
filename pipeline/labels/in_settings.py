"""The section `labels` of a settings file on its way into force, for ingest and workers alike.

    start     applied, unless this content was in force before and somebody has replaced it
    edited    applied: a person asks for it now
    absent    the labels in force are left alone

Whatever the broker does, an edit is applied as soon as it can be; only the newest counts.
"""

from __future__ import annotations

import threading

import structlog

from engines.errors import EngineError
from pipeline.analysis.label_set import LabelSets, collect, content_of, make
from pipeline.broker.contract import Broker
from pipeline.broker.control_topic import apply_config
from pipeline.broker.reading import partitions_of
from pipeline.config.settings import Settings
from pipeline.errors import ActionwireError, ConfigurationError, TransientError
from pipeline.labels.check import check_in_force
from pipeline.labels.reporting import log_refused, shown
from pipeline.records.labels import Label

SECONDS = 30.0
"""How long one attempt may take."""
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class LabelsInSettings:
    """Applies the labels of a settings file. `start` and `edited` belong to one thread; `edited` does not wait."""

    def __init__(self, broker: Broker, settings: Settings, *, warn: bool = False) -> None:
        """warn: log each label that the bundle cannot watch for, as a worker does by itself."""
        self._broker, self._topic, self._settings, self._warn = broker, settings.topics.name("control"), settings, warn
        self._waiting: tuple[Label, ...] | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()

    def start(self) -> None:
        """Apply the labels with which the process starts. Raises ConfigurationError, TransientError."""
        if self._settings.names_labels:
            wanted = labels_of(self._settings)
            partitions_of(self._broker, self._topic)
            sets = apply_config(self._broker, self._topic, wanted, SECONDS, edited=False)
            if sets.content != content_of(wanted):
                log.warning(
                    "the labels of the settings were replaced by others since they were in force; the others stay",
                    remedy="`actionwire labels apply FILE` puts those of a file in force",
                    version=sets.version,
                )
            self._report(wanted, sets)

    def edited(self, settings: Settings) -> None:
        """Take note of edited settings; their labels are applied where they differ from those before the edit."""
        before, self._settings = self._settings, settings
        if not settings.names_labels or (before.names_labels and before.labels == settings.labels):
            return
        try:
            wanted = labels_of(settings)
        except ConfigurationError as error:
            log.error("labels of the settings not applied, those in force stay", reason=str(error))
            return
        with self._changed:
            self._waiting = wanted
            if self._thread is None:
                self._thread = threading.Thread(target=self._apply_waiting, name="settings-labels", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Apply nothing more."""
        self._closed.set()
        if (thread := self._thread) is not None:
            thread.join(RETRY_SECONDS)

    def _apply_waiting(self) -> None:
        while not self._closed.is_set():
            with self._changed:
                wanted = self._waiting
                if wanted is None:
                    self._thread = None
                    return
            try:
                sets = apply_config(self._broker, self._topic, wanted, SECONDS)
                log.info(
                    "labels of the settings applied", version=sets.version, count=len(wanted), labels=shown(wanted)
                )
                self._report(wanted, sets)
            except TransientError as error:
                log.warning("labels of the settings not applied yet", reason=str(error))
                self._closed.wait(RETRY_SECONDS)
                continue
            except ActionwireError as error:
                log.error("labels of the settings not applied", reason=str(error))
            with self._changed:
                self._waiting = None if self._waiting is wanted else self._waiting
        self._thread = None

    def _report(self, labels: tuple[Label, ...], sets: LabelSets) -> None:
        if not self._warn:
            return
        try:
            problems = check_in_force(self._settings, sets).problems(labels)
        except EngineError as error:
            log.info("the words of the labels are not checked here", reason=str(error))
            return
        log_refused(labels, problems)


def labels_of(settings: Settings) -> tuple[Label, ...]:
    """The labels of the settings, ordered by id. Raises ConfigurationError where two have the same id."""
    return collect(make(label.model_dump()) for label in settings.labels)
