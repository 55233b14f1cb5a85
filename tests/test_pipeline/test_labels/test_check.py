"""Whether a label can be watched for, and with which bundle that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.bundle.files import load
from engines.bundle.store import publish
from engines.errors import BundleNotFound, TamperedBundle
from engines.testing import tiny_bundle
from pipeline.analysis.label_set import LabelSets, apply, make
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.labels.check import LabelCheck, check_in_force, check_of
from pipeline.records.label_report import LabelReport

DEMO = Settings()


@pytest.mark.parametrize(
    ("fields", "events", "reason"),
    [
        ({"text": "a person climbs a fence"}, {}, "does not know 'fence'"),
        ({"text": "a person " * 30 + "runs"}, {}, "has more than the model's 24 tokens; shorten it"),
        ({"text": "a person runs", "exit": 0.6}, {"enter": 0.3}, "exit 0.6 is above enter 0.3"),
        ({"text": "a person runs", "enter": 0.2}, {"exit": 0.3}, "exit 0.3 is above enter 0.2"),
        ({"text": "a person falls down"}, {}, None),
        ({"text": "a person runs", "enter": 0.05}, {}, None),
    ],
)
def test_a_label_is_refused_with_its_reason(
    fields: dict[str, Any], events: dict[str, float], reason: str | None
) -> None:
    """Unknown words, too many words, thresholds that contradict each other once merged; a measured one gives way."""
    check = check_of(Settings.model_validate({"events": events}))

    found = check.problem(make(fields))

    assert (found is None) if reason is None else reason in str(found)


def test_every_refused_label_is_named_at_once() -> None:
    """Whoever applies a file hears of all its mistakes."""
    labels = [make({"text": text}) for text in ("a zebra runs", "a person runs", "a chimpanzee waves")]

    with pytest.raises(ConfigurationError, match=r"'zebra'.*; .*'chimpanzee'"):
        check_of(DEMO).require(labels)
    assert list(check_of(DEMO).problems(labels)) == ["a-zebra-runs", "a-chimpanzee-waves"]


def test_the_networks_are_not_read(tmp_path: Path) -> None:
    """A check is quick however large a bundle is; a damaged tokenizer is said all the same."""
    path = tiny_bundle(tmp_path / "tiny")
    (path / "head.onnx").write_bytes(b"damaged")
    settings = Settings.model_validate({"worker": {"bundle": str(path)}})
    assert check_of(settings).problem(make({"text": "red"})) is None

    (path / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(TamperedBundle, match=r"tokenizer\.json does not match the sha256"):
        check_of(settings)


def test_the_bundle_that_the_workers_run_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may run another bundle than the settings of this machine name.

    settings   demo     demo            demo                     demo
    workers    (none)   tiny, stored    tiny, not on this host   demo
    checked    demo     tiny            cannot be known          demo
    """
    monkeypatch.setenv("ACTIONWIRE_STORE", str(tmp_path / "store"))
    tiny = load(tiny_bundle(tmp_path / "tiny"))
    demo = check_of(DEMO).bundle

    def reported(bundle: str, name: str) -> LabelSets:
        return apply(LabelSets(), LabelReport(DEMO.worker.group, bundle, name, "0.1.0", -1), 0)

    assert check_in_force(DEMO, LabelSets()).bundle == demo
    with pytest.raises(BundleNotFound, match=r"the workers run the bundle tiny@0\.1\.0 .* not on this machine"):
        check_in_force(DEMO, reported(tiny.manifest.id, "tiny"))
    publish(tmp_path / "store", tiny.path)
    assert check_in_force(DEMO, reported(tiny.manifest.id, "tiny")).bundle.manifest == tiny.manifest
    assert check_in_force(DEMO, reported(demo.manifest.id, "demo")).bundle == demo


def test_another_group_has_another_bundle(tmp_path: Path) -> None:
    """What other workers run does not matter to those of this group."""
    other = apply(LabelSets(), LabelReport("others", "0" * 64, "theirs", "1", -1), 0)

    assert isinstance(check_in_force(DEMO, other), LabelCheck)
