"""The alert rules name metrics that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pipeline.config.settings import Settings
from pipeline.metrics import DROPS, STAGES, IngestMetrics, WorkerMetrics, new_registry

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus/actionwire.rules.yaml"
COVERED = {"bad_record": "ActionwireBadRecords"}
"""Reasons for a missed frame that an alert on another series tells of."""


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


def chosen() -> set[tuple[str, str, str]]:
    """Series, label and value of every choice in an expression; a choice among several values counts for each."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return {
        (series, label, value)
        for rule in rules
        for series, label, values in re.findall(r"(\w+)\{(\w+)(?:!?=|[=!]~)\"([\w|]+)\"\}", rule["expr"])
        for value in values.split("|")
    }


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

    own = {one for one in chosen() if one[0].startswith("actionwire")}

    assert own
    assert own <= known


def test_rules_about_processes_choose_the_job_of_the_guide() -> None:
    """Series that Prometheus or the client library names are those of our processes, under the job they are told of."""
    job = re.findall(r"job_name: (\w+)", (DEPLOY / "README.md").read_text())
    process = {sample.name for family in new_registry().collect() for sample in family.samples}

    others = {one for one in chosen() if not one[0].startswith("actionwire")}

    assert {name for name, _, _ in others} == {"up", "process_start_time_seconds"} <= process | {"up"}
    assert {(label, value) for _, label, value in others} == {("job", name) for name in job}


def test_no_sum_over_workers_hides_one() -> None:
    """One of six that fails alone changes a sum by a sixth; only what is wrong wherever it happens, or is meant of all
    together, may be added up.
    """
    meant = {
        "actionwire:coverage:ratio_rate5m",  # of all video; what one leaves out has its own alert
        "ActionwireFramesDropped",
        "ActionwireFramesRepeated",
        "ActionwireNoWorker",
        "ActionwireStandstill",
        "ActionwireBadRecords",
        "ActionwireBundleRefused",
        "ActionwireEventsDoubled",
        "ActionwireCamerasAway",
        "ActionwireCameraFillsNoWindow",  # by camera, whichever worker has it
        "ActionwireNoWindows",
    }
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]

    added = {
        rule.get("alert") or rule["record"]
        for rule in rules
        if re.search(r"\b(?:sum|max)\b(?! by \(instance\b)", rule["expr"])
    }

    assert added == meant


def test_hanging_transactions_are_looked_for_where_they_are() -> None:
    """On one broker of three, or only after the default of fifteen minutes, the search would find nothing."""
    found = re.findall(r"find-hanging.*", (DEPLOY / "README.md").read_text())

    assert found
    assert all("--topic" in line and "--max-transaction-timeout" in line for line in found)


def test_every_reason_for_a_missed_frame_has_its_alert() -> None:
    """A frame that is dropped does not go by without a word, whatever the reason."""
    reasons = {value for series, _, value in chosen() if series == "actionwire_dropped_total"}

    assert reasons | COVERED.keys() == set(DROPS)
    assert set(COVERED.values()) <= alerts()


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


def test_the_guide_speaks_of_stages_that_are_measured() -> None:
    """Each stage that the guide, or the list of stages, names is observed somewhere; a word alone would never lead."""
    steps = re.findall(r"^\d\. ((?:`\w+`(?: or |, )?)+):", (DEPLOY / "README.md").read_text(), re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(steps)))
    sources = [path.read_text() for path in (ROOT / "pipeline").rglob("*.py")]
    observed = {stage for source in sources for stage in re.findall(r"[._]stage\(\"(\w+)\"\)", source)}

    assert named
    assert named <= observed
    assert set(STAGES) == observed
