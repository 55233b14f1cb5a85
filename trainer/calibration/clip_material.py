"""Which clips of a list fit thresholds and which measure them, spliced into streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.calibration.spliced import Form, Spliced, quiet_streams, splice
from trainer.calibration.streams import Material, Recorded
from trainer.data.manifest import Clip
from trainer.data.splits import drawn
from trainer.progress import Report, counted

FEWEST = 3
"""Clips of a label that its own thresholds need."""


@dataclass(frozen=True)
class Sides:
    """The clips that decide, those that measure, and what cannot be fitted."""

    fit: tuple[Clip, ...]
    measure: tuple[Clip, ...]
    measured_on: str
    """Where the measuring clips come from, for the report."""
    uncalibrated: dict[str, str] = field(default_factory=dict)
    """Labels without thresholds of their own, and why."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that thresholds are fitted for."""
        named = {label for clip in self.fit for label in clip.labels}
        return tuple(sorted(named - self.uncalibrated.keys()))


def sides(clips: Sequence[Clip], labels: Sequence[str], seed: int) -> Sides:
    """Clips of `validate` decide and those of `test` measure; without a test split, half of the former by group.

    Where neither is possible the clips that decide measure too, and `measured_on` says so. A label with fewer than
    `FEWEST` clips that decide gets the thresholds of all labels together.
    """
    validate = [clip for clip in clips if clip.split == "validate"]
    test = [clip for clip in clips if clip.split == "test"]
    fit, measure, measured_on = validate, test, "test"
    if not any(not clip.background for clip in test):
        fit, measure, measured_on = _halves(validate, seed)
    count = Counter(label for clip in fit for label in clip.labels)
    lacking = {
        label: f"{count[label]} clips to fit to, {FEWEST} are needed" for label in labels if count[label] < FEWEST
    }
    known = {label for clip in fit for label in clip.labels} - lacking.keys()
    measure = [clip for clip in measure if clip.background or known.issuperset(clip.labels)]
    if not any(not clip.background for clip in measure):
        measure, measured_on = fit, _THE_SAME
    return Sides(tuple(fit), tuple(measure), measured_on, lacking)


_THE_SAME = "the clips that decided, since there are no others"


def _halves(validate: Sequence[Clip], seed: int) -> tuple[list[Clip], list[Clip], str]:
    halves, missing = drawn(validate, {"test": 0.5}, seed)
    fit = [clip for clip, half in zip(validate, halves, strict=True) if half.split != "test"]
    count = Counter(label for clip in fit for label in clip.labels)
    before = Counter(label for clip in validate for label in clip.labels)
    if missing or any(count[label] < min(FEWEST, before[label]) for label in before):
        return list(validate), list(validate), _THE_SAME
    measure = [clip for clip, half in zip(validate, halves, strict=True) if half.split == "test"]
    return fit, measure, "half of validate, by group"


def material(chosen: Sides, form: Form, folder: Path, report: Report) -> Material:
    """The streams of both sides, written into `folder`."""
    labels = chosen.labels
    fit = _spliced(chosen.fit, labels, form, folder, "fit", report)
    quiet = _quiet(chosen.fit, form, folder, "fit-quiet", report)
    held_back = _spliced(chosen.measure, labels, form, folder, "measure", report)
    held_back_quiet = _quiet(chosen.measure, form, folder, "measure-quiet", report)
    what = {"source": "clips spliced into quiet footage"}
    sources = {
        "fit": what | {"clips": "validate"},
        "quiet": what | {"clips": "validate"},
        "held_back": what | {"clips": chosen.measured_on},
        "held_back_quiet": what | {"clips": chosen.measured_on},
    }
    notes: dict[str, Any] = {
        "clips": {"fit": fit.clips, "held_back": held_back.clips},
        "quiet_shows": fit.quiet_shows,
        "uncalibrated": chosen.uncalibrated,
    }
    if skipped := fit.skipped | held_back.skipped:
        notes["skipped"] = skipped
    return Material(fit.recorded, quiet, held_back.recorded, held_back_quiet, labels, sources, notes)


def _spliced(
    clips: Sequence[Clip], labels: Sequence[str], form: Form, folder: Path, what: str, report: Report
) -> Spliced:
    wanted = set(labels)
    shown = [clip for clip in clips if not clip.background and wanted.issuperset(clip.labels)]
    background = [clip for clip in clips if clip.background]
    return splice(_mixed(shown), background, form, folder, counted(report, f"splice {what}"), prefix=what)


def _mixed(clips: Sequence[Clip]) -> list[Clip]:
    """The clips in an order in which the labels take turns, so that each stream shows several."""
    seen: Counter[str] = Counter()
    turns = []
    for clip in clips:
        turns.append((seen[clip.label], clip.label))
        seen[clip.label] += 1
    return [clip for _, clip in sorted(zip(turns, clips, strict=True), key=lambda pair: pair[0])]


def _quiet(clips: Sequence[Clip], form: Form, folder: Path, what: str, report: Report) -> Recorded:
    background = [clip for clip in clips if clip.background]
    return quiet_streams(background, form, folder, counted(report, f"splice {what}"), what)
