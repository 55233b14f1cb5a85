"""The report of a training run as a table: its figures, and how they developed."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trainer.errors import CheckpointError

REPORT, LOG, CURVES = "report.json", "metrics.jsonl", "curves.png"

NAMES: dict[str, str] = {
    "unseen_held_out_pairs": "captions never seen in training, among the held-out pairs (top-1)",
    "unseen_all_pairs": "captions never seen in training, among all pairs (top-1)",
    "unseen_actions": "action of clips whose pair was never seen (top-1)",
    "seen_all_pairs": "captions of seen pairs, among all pairs (top-1)",
    "seen_actions": "action of clips of seen pairs (top-1)",
    "event_f1": "events in streams, thresholds fitted on other streams (F1)",
    "top8_f1": "the same, best eight actions (F1)",
    "clips_top1": "your own clips that were kept apart (top-1)",
    "clips_top1_trained": "your own clips, the very ones it was trained on: none were kept apart (top-1)",
    "onset_delay_median_s": "onset delay, median (s)",
}
"""The main figures of a report and their meaning."""


def read(run: Path) -> dict[str, float]:
    """The report of a finished run. Raises CheckpointError where there is none."""
    path = run / REPORT
    if not path.is_file():
        raise CheckpointError(f"there is no {path}; the run is not finished: go on with it, or measure its checkpoint")
    return dict(json.loads(path.read_text("utf-8")))


def history(run: Path) -> list[tuple[int, dict[str, float]]]:
    """The validations of a run: (step, figures), oldest first; empty where nothing was logged."""
    path = run / LOG
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    return [(int(row["step"]), row["validation"]) for row in rows if "validation" in row]


def show(run: Path, figures: dict[str, float], console: Console) -> None:
    """Print the figures, F1 per action, and the main figures over the steps."""
    table = Table("figure", "value", title=f"report of {run}", title_justify="left")
    for name, meaning in NAMES.items():
        if name in figures:
            table.add_row(f"{name}: {meaning}", f"{figures[name]:.3f}")
    for name in sorted(figures.keys() - NAMES.keys()):
        table.add_row(name, f"{figures[name]:.3f}")
    console.print(table)
    for step, row in history(run):
        shown = ", ".join(f"{name} {row[name]:.3f}" for name in NAMES if name in row)
        console.print(f"step {step}: {shown}", highlight=False)
    if (run / CURVES).is_file():
        console.print(f"curves: {run / CURVES}", highlight=False)
