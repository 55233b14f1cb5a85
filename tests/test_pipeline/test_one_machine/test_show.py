"""The lines above the table, and those that are printed where there is no terminal."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline.one_machine.show import Condition, changes, lines

MACHINE: Any = SimpleNamespace(
    settings=SimpleNamespace(kafka=SimpleNamespace(bootstrap="127.0.0.1:9092")), logs=Path("logs")
)


def test_the_state_of_everything_is_above_the_table() -> None:
    """Processes, lag, events, labels and those that nobody watches for, broker, logs, and what is wrong."""
    condition = Condition(None, "the broker is away", 0.25, ("a person runs", "a dog barks"), refused=1)

    first, labels, where, failure = lines(condition, MACHINE, 3, "events cannot be read")

    assert first == "worker ready   ingest the broker is away   lag 0.2 s   3 events"
    assert labels == "labels: a person runs, a dog barks (1 not watched for: `actionwire labels list`)"
    assert "127.0.0.1:9092" in where and "logs" in where and failure == "events cannot be read"
    assert next(lines(Condition(), MACHINE, 0, None)) == "worker starting   ingest starting   lag -   0 events"


def test_without_a_terminal_only_what_has_begun_is_said() -> None:
    """Nothing while a process starts; labels once the worker is ready, for only then it is known which it takes.

    worker   starting | ready           | the broker is away
    said              | ready, labels   | the broker is away
    """
    labels = ("a person runs",)
    assert changes(Condition(labels=labels)) == ()
    assert changes(Condition(worker=None, labels=labels)) == ("worker: ready", "labels: a person runs")
    assert changes(Condition(worker="the broker is away", ingest=None)) == (
        "worker: the broker is away", "ingest: ready",
    )  # fmt: skip
