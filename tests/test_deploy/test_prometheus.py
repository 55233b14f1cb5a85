"""The alert rules name metrics that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pipeline.config import Settings
from pipeline.metrics import DROPS, IngestMetrics, WorkerMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/actionwire.rules.yaml"


def families() -> Iterator[Metric]:
    """Every metric that worker and ingest export."""
    for kind in (WorkerMetrics, IngestMetrics):
        registry = CollectorRegistry()
        kind(registry)
        yield from text_string_to_metric_families(generate_latest(registry).decode())


def exported() -> set[str]:
    """Every sample name that worker and ingest export."""
    names: set[str] = set()
    for family in families():
        ends = ("_sum", "_count", "_bucket") if family.type == "histogram" else ("_total",)
        names |= {family.name, *(family.name + end for end in ends)} | {sample.name for sample in family.samples}
    return names


def alerts() -> set[str]:
    """Names of all alerts."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return {rule["alert"] for rule in rules if "alert" in rule}


def test_every_rule_asks_for_a_metric_that_exists() -> None:
    """A renamed metric would silence an alert for ever; every name in an expression must be exported or recorded."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}

    named = {name for rule in rules for name in re.findall(r"actionwire[a-z0-9_:]+", rule["expr"])}

    assert named
    assert named - recorded <= exported()


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    """Whoever is woken at three gets a severity, one line of summary and a description."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]

    for alert in (rule for rule in rules if "alert" in rule):
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert len(alert["annotations"]["summary"]) > 20
        assert len(alert["annotations"]["description"]) > 40


def test_every_rule_chooses_series_that_exist() -> None:
    """A misspelt label or value would choose nothing, or everything; both are silent."""
    known = {
        (sample.name, label, value)
        for family in families()
        for sample in family.samples
        for label, value in sample.labels.items()
    }
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    chosen = [
        found for rule in rules for found in re.findall(r"(actionwire[a-z_]+)\{(\w+)!?=\"(\w+)\"\}", rule["expr"])
    ]

    assert chosen
    assert set(chosen) <= known


def test_the_guide_tells_what_to_do_for_each_alert() -> None:
    """Every alert has its own heading in deploy/README.md, and no heading outlives its alert."""
    headings = re.findall(r"^### (Actionwire\w+)$", (DEPLOY / "README.md").read_text(), re.MULTILINE)

    assert sorted(headings) == sorted(alerts())


def test_the_guide_speaks_of_what_there_is() -> None:
    """Metrics, settings and reasons that the guide names exist, and no reason for a missed frame is left out."""
    text = (DEPLOY / "README.md").read_text()
    settings = {f"{name}.{key}" for name, part in Settings() if hasattr(part, "model_fields_set") for key, _ in part}
    sections = {name.partition(".")[0] for name in settings}
    named = {word for word in re.findall(r"`([a-z]+\.[a-z_]+)", text) if word.partition(".")[0] in sections}

    assert set(re.findall(r"actionwire_[a-z_]+", text)) <= exported()
    assert named
    assert named <= settings
    assert {reason for reason in DROPS if f"`{reason}`" not in text} == set()
