"""A run's curves as a PNG."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_VALIDATED = ("seen_actions", "unseen_held_out_pairs", "unseen_all_pairs", "event_f1", "top8_f1", "clips_top1")


def draw(log: Path, picture: Path) -> None:
    """Draw losses, accuracy and validation over the steps of `metrics.jsonl` into a PNG."""
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    steps = [row for row in rows if "validation" not in row]
    checks = [row for row in rows if "validation" in row]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for name in sorted({key for row in steps for key in row if key.startswith("loss_")}):
        shown = [(row["step"], row[name]) for row in steps if name in row]
        left.plot(*zip(*shown, strict=True), label=name.removeprefix("loss_"), linewidth=1)
    left.set(xlabel="step", ylabel="loss")
    right.plot(
        [row["step"] for row in steps], [row["accuracy"] for row in steps], label="training windows", linewidth=0.8
    )
    for name in _VALIDATED:
        shown = [(row["step"], row["validation"][name]) for row in checks if name in row["validation"]]
        if shown:
            right.plot(*zip(*shown, strict=True), marker="o", label=name)
    right.set(xlabel="step", ylabel="share", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
