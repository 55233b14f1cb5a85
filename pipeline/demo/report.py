"""The figures at the end of a demo. Their names do not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

_ROWS: tuple[tuple[str, str, str], ...] = (
    ("event_f1", "event F1 (overlap >= 0.5)", "{:.3f}"),
    ("precision", "precision", "{:.3f}"),
    ("recall", "recall", "{:.3f}"),
    ("worst_seed_f1", "worst seed's F1", "{:.3f}"),
    ("onset_delay_median_s", "onset delay, median", "{:.2f} s"),
    ("false_alarms_per_camera_hour", "false alarms per camera-hour", "{:.2f}"),
    ("event_latency_p50_s", "capture to event, p50", "{:.3f} s"),
    ("event_latency_p99_s", "capture to event, p99", "{:.3f} s"),
    ("coverage", "coverage (ticks encoded / captured)", "{:.4f}"),
    ("camera_hours", "camera-hours", "{:.3f}"),
    ("events", "events", "{}"),
    ("truth_events", "true actions", "{}"),
    ("replay_equal", "a replay of the recorded frames gives the same events", "{}"),
    ("broker", "broker", "{}"),
)
_SHADOW: tuple[tuple[str, str], ...] = (
    ("same", "events of both"),
    ("moved", "moved by more than a second"),
    ("new", "new"),
    ("gone", "gone"),
    ("frames_of_the_worker", "frames that the worker encoded"),
    ("frames", "frames that the candidate encoded"),
    ("cpu_ms_per_frame", "CPU ms of its process for each"),
    ("cpu_ms_per_frame_of_the_worker", "CPU ms of the worker for each of its own"),
)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed; None where there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def print_report(figures: Mapping[str, Any], console: Console) -> None:
    """Print the figures, and below them one line per label."""
    table = Table(title="truth against events", show_header=False, title_justify="left")
    for name, words, form in _ROWS:
        if name in figures:
            value = figures[name]
            table.add_row(words, "-" if value is None else form.format(value))
    console.print(table)
    if "shadow" in figures:
        tried = Table(title="the candidate against the bundle in use", show_header=False, title_justify="left")
        for name, words in _SHADOW:
            tried.add_row(words, str(figures["shadow"][name]))
        console.print(tried)
    labels = Table("label", "true", "events", "F1", "delay s", "false alarms/h", title="by label", title_justify="left")
    for text, one in figures.get("labels", {}).items():
        labels.add_row(
            text,
            str(one["truth_events"]),
            str(one["events"]),
            _number(one["event_f1"]),
            _number(one["onset_delay_median_s"]),
            _number(one["false_alarms_per_camera_hour"]),
        )
    console.print(labels)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
