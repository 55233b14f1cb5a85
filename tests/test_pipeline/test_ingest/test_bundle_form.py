"""Which pictures the bundle takes, as ingest learns it from workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.broker.contract import TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.ingest.bundle_form import BundleForm
from pipeline.records.label_report import LabelReport, PictureForm, encode_report
from pipeline.records.wire import Message

TOPIC = "test.control"
SMALL, LARGE = PictureForm(128, 96, "area", "squash"), PictureForm(224, 224, "bicubic", "centre")
REPORT = LabelReport("workers", "b" * 64, "demo", "0.1.0", 0, input=SMALL)


@pytest.fixture
def broker() -> Iterator[InProcessBroker]:
    """A broker with a control topic."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings(TOPIC, 1)], 5.0)
    yield broker
    broker.close()


def test_the_newest_report_counts(broker: InProcessBroker) -> None:
    """Workers say it when they start, and again when they take up another bundle; what is no report says nothing.

    control    (empty)   128x96   label, no JSON, older worker   224x224
    form       none      128x96   128x96                         224x224
    """
    form, producer = BundleForm(broker, TOPIC), broker.producer()
    form.poll()
    found = [form.form]
    rest = [Message(b"live/x", b"{}", (), 0), Message(b"report/workers", b"{", (), 0)]
    rest.append(encode_report(replace(REPORT, input=None)))
    for messages in ([encode_report(REPORT)], rest, [encode_report(replace(REPORT, input=LARGE))]):
        for message in messages:
            producer.send(TOPIC, message)
        form.poll()
        found.append(form.form)

    assert found == [None, SMALL, SMALL, LARGE]


def test_groups_that_disagree_get_frames_as_they_are(broker: InProcessBroker) -> None:
    """A frame that was made small for one bundle lacks what another needs, so no bundle's wish is followed then."""
    form, producer = BundleForm(broker, TOPIC), broker.producer()
    found = []
    for group, wanted in (("workers", SMALL), ("trial", LARGE), ("trial", SMALL)):
        producer.send(TOPIC, encode_report(replace(REPORT, group=group, input=wanted)))
        form.poll()
        found.append(form.form)

    assert found == [SMALL, None, SMALL]
