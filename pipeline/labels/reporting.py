"""What a worker makes of the labels in force, said where people and alerts look.

gauges        actionwire_labels: watched for, actionwire_labels_refused: in force and not watched for
/ready        not ready while labels are in force and none of them can be watched for
control topic a record `report/<group>`, so that `actionwire labels list` and `status` can name the reasons
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog

from engines.bundle.manifest import Manifest
from pipeline.analysis.label_set import LabelSet
from pipeline.broker.contract import Producer
from pipeline.errors import ActionwireError
from pipeline.metrics import WorkerMetrics
from pipeline.records.label_report import MOST_REASONS, LabelReport, PictureForm, encode_report
from pipeline.records.labels import Label
from pipeline.records.wire import Partition

SHOWN_LABELS = 20
SHOWN_TEXT = 100
"""How much of a set is logged: it may have ten thousand labels, and its texts are strangers'."""

log = structlog.get_logger(__name__)


def shown(labels: Sequence[Label]) -> list[str]:
    """The texts of the first labels, for a line of the log; say their number beside it."""
    return [label.text[:SHOWN_TEXT] for label in labels[:SHOWN_LABELS]]


def log_refused(labels: Sequence[Label], refused: Mapping[str, str]) -> None:
    """Log each label that cannot be watched for with its reason (by id), and only the number of those after twenty."""
    concerned = [label for label in labels if label.id in refused]
    for label in concerned[:SHOWN_LABELS]:
        log.error("a label cannot be watched for", label=label.text[:SHOWN_TEXT], reason=refused[label.id])
    if len(concerned) > SHOWN_LABELS:
        log.error("more labels cannot be watched for", count=len(concerned) - SHOWN_LABELS)


class LabelReporter:
    """Says what became of each label set. `report` belongs to one thread at a time; `ready` may be called from any."""

    def __init__(
        self,
        metrics: WorkerMetrics,
        producer: Producer,
        topic: str,
        group: str,
        known: Callable[[], Mapping[str, LabelReport]],
    ) -> None:
        """topic: the control topic. known: the newest report of each group, so that none is repeated."""
        self._metrics, self._producer, self._topic, self._group, self._known = metrics, producer, topic, group, known
        self._unready: str | None = None
        self._sent: LabelReport | None = None

    def report(self, labels: LabelSet, refused: Mapping[str, str], manifest: Manifest) -> None:
        """These labels are in force, and those in `refused` (reason by id) cannot be watched for with this bundle."""
        self._metrics.labels(len(labels.labels) - len(refused), len(refused))
        self._unready = none_usable(labels, refused)
        reasons = tuple(sorted(refused.items())[:MOST_REASONS])
        taken = manifest.input
        said = LabelReport(
            self._group,
            manifest.id,
            manifest.name,
            manifest.version,
            labels.version,
            reasons,
            len(refused),
            PictureForm(taken.width, taken.height, taken.resize, taken.crop),
        )
        if said not in (self._sent, self._known().get(self._group)):
            self._sent = said
            self._producer.send(self._topic, encode_report(said), self._delivered)

    def ready(self) -> str | None:
        """Why no label can be watched for; None while one can, or none is in force."""
        return self._unready

    def _delivered(self, _: Partition | None, __: int, error: ActionwireError | None) -> None:
        if error is not None:
            self._sent = None
            log.warning("which labels are refused could not be told", reason=str(error))


def none_usable(labels: LabelSet, refused: Mapping[str, str]) -> str | None:
    """Why not one label of a set can be watched for; None where one can, or there is none."""
    if not labels.labels or len(refused) < len(labels.labels):
        return None
    first = refused[labels.labels[0].id]
    others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return f"none of the {len(refused)} labels in force can be watched for: {first}{others}"
