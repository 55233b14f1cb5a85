"""The alert rules name metrics that exist."""

import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.metrics import IngestMetrics, WorkerMetrics

RULES = Path(__file__).parents[2] / "deploy/prometheus/actionwire.rules.yaml"


def exported() -> set[str]:
    """Every sample name that worker and ingest export."""
    names: set[str] = set()
    for kind in (WorkerMetrics, IngestMetrics):
        registry = CollectorRegistry()
        kind(registry)
        families = text_string_to_metric_families(generate_latest(registry).decode())
        for family in families:
            names |= {family.name, f"{family.name}_total"} | {sample.name for sample in family.samples}
    return names


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
