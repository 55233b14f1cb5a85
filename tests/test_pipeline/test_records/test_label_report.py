"""The wire form of what workers say of the labels in force."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import BadRecordError
from pipeline.records.label_report import MOST_REASONS, LabelReport, PictureForm, encode_report, is_report
from pipeline.records.labels import decode_control

FORM = PictureForm(128, 96, "area", "squash")
REPORT = LabelReport("workers", "b" * 64, "demo", "0.1.0", 7, (("fence", "does not know 'fence'"),), 1, FORM)


def test_what_is_sent_is_what_is_read() -> None:
    """A report is one record per group on the only partition of the control topic."""
    message = encode_report(REPORT)

    assert (decode_control(message.key, message.value), message.partition) == (REPORT, 0)
    assert message.key == b"report/workers" and is_report(message.key) and not is_report(b"live/report")


def test_a_report_fits_into_a_message_however_much_is_refused() -> None:
    """Ten thousand refused labels are counted, and the first hundred named."""
    refused = tuple((f"label-{number:05}", "too long " * 30) for number in range(10_000))
    message = encode_report(LabelReport("g", "b", "n", "v", 7, refused, len(refused)))

    found = decode_control(message.key, message.value)

    assert isinstance(found, LabelReport)
    assert (len(found.refused), found.refused_count) == (MOST_REASONS, 10_000)
    assert len(message.value or b"") < 64 * 1024


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "of schema 2, expected 1"),
        ({"bundle": None}, "'bundle' must be an object"),
        ({"bundle": {"id": 7, "name": "n", "version": "v"}}, "bundle: Input should be a valid string"),
        ({"refused": [["fence", "why"]]}, "'refused' must be a list of objects"),
        ({"refused": [{"id": "fence"}]}, r"refused\.0\.1: Input should be a valid string"),
        ({"refused": "all"}, "'refused' must be a list of objects"),
        ({"labels_version": True}, "labels_version: Input should be a valid integer"),
        ({"input": {"width": 128, "height": 96, "resize": "area"}}, r"input\.crop: Field required"),
        ({"input": {"width": 0, "height": 96, "resize": "area", "crop": "centre"}}, r"input\.width: Input should be"),
        ({"refused_count": -2}, "refused_count: Input should be greater than or equal to 0"),
    ],
)
def test_a_malformed_report_is_a_bad_record(change: dict[str, Any], words: str) -> None:
    """Whatever is wrong with it, the reader is told, and goes on."""
    message = encode_report(REPORT)
    document = {**json.loads(message.value or b""), **change}

    with pytest.raises(BadRecordError, match=words):
        decode_control(message.key, json.dumps(document).encode())
