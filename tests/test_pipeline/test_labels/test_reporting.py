"""What a worker says of the labels in force."""

from __future__ import annotations

from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from engines.bundle.files import load
from engines.bundle.store import demo_path
from pipeline.analysis.label_set import LabelSet, make
from pipeline.broker import control_topic
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.labels.reporting import LabelReporter, log_refused, none_usable, shown
from pipeline.metrics import WorkerMetrics
from pipeline.records.label_report import PictureForm

RUN, ZEBRA = make({"text": "a person runs"}), make({"text": "a zebra runs"})
REFUSED = {ZEBRA.id: "does not know 'zebra'"}
MANIFEST = load(demo_path(), check_files=False).manifest
TOPIC = "actionwire.control"


def test_gauges_readiness_and_the_topic_say_the_same() -> None:
    """One of two is refused: counted and reported, and the worker goes on; once none is left it is not ready.

    labels    run, zebra    zebra        (none)
    gauges    1, 1          0, 1         0, 0
    ready     yes           no           yes
    """
    broker, registry = InProcessBroker(), CollectorRegistry()
    apply_topics(broker, Settings())
    reporter = LabelReporter(WorkerMetrics(registry), broker.producer(), TOPIC, "workers", dict)

    for version, (labels, watched, ready) in enumerate([((RUN, ZEBRA), 1, True), ((ZEBRA,), 0, False), ((), 0, True)]):
        refused = REFUSED if ZEBRA in labels else {}
        reporter.report(LabelSet(labels, version), refused, MANIFEST)

        report = control_topic.read(broker, TOPIC, 5).reports["workers"]
        assert (report.labels_version, dict(report.refused), report.refused_count) == (version, refused, len(refused))
        assert (report.bundle, report.name) == (MANIFEST.id, "demo")
        assert report.input == PictureForm(128, 96, MANIFEST.input.resize, MANIFEST.input.crop)
        assert registry.get_sample_value("actionwire_labels") == watched
        assert registry.get_sample_value("actionwire_labels_refused") == len(refused)
        assert (reporter.ready() is None) is ready
    assert control_topic.read(broker, TOPIC, 5).version == -1, "a report changes no version"
    broker.close()


def test_what_is_on_the_topic_is_not_said_again() -> None:
    """A hundred workers of one bundle write one report, not a hundred, and a restart none."""
    broker = InProcessBroker()
    apply_topics(broker, Settings())
    known: dict[str, Any] = {}
    for _ in range(3):
        producer = broker.producer()
        reporter = LabelReporter(WorkerMetrics(CollectorRegistry()), producer, TOPIC, "workers", lambda: known)
        reporter.report(LabelSet((ZEBRA,), 3), REFUSED, MANIFEST)
        known.update(control_topic.read(broker, TOPIC, 5).reports)

    with control_topic.ControlReader(broker, TOPIC) as reader:
        reader.catch_up(5)
        assert reader.position == 1
    broker.close()


def test_no_labels_are_no_fault() -> None:
    """A worker that was told to watch for nothing yet is ready; one that can watch for none says the first reason."""
    assert none_usable(LabelSet(), {}) is None
    assert none_usable(LabelSet((RUN, ZEBRA), 0), REFUSED) is None
    said = none_usable(LabelSet((RUN, ZEBRA), 0), {**REFUSED, RUN.id: "too long"})
    assert said == "none of the 2 labels in force can be watched for: too long (and 1 more)"


def test_the_log_names_some_of_many() -> None:
    """Ten thousand labels make no line of a megabyte, and ten thousand refused ones make no ten thousand lines."""
    labels = [make({"text": f"a person runs {number}"}) for number in range(10_000)]

    with structlog.testing.capture_logs() as logs:
        log_refused(labels, {label.id: "why" for label in labels[5:]})
        log_refused(labels, {labels[-1].id: "the last"})

    assert len(shown(labels)) == 20 and shown(labels)[0] == "a person runs 0"
    assert [line.get("label") for line in logs[:20]] == [label.text for label in labels[5:25]]
    assert logs[20]["count"] == 9975
    assert [line["reason"] for line in logs[21:]] == ["the last"]
