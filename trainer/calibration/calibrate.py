"""Calibration: replay validation streams by the serving side, fit thresholds to the scores, seal the bundle.

One set of streams fits, another measures; both are rendered from validation seeds or recorded by the user's cameras.
The reported figures are those of `actionwire replay` and `actionwire evaluate` for the sealed bundle. The search in
between only proposes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import files as bundles
from engines.text.text_bank import TextEncoder
from trainer.calibration import serving_commands
from trainer.calibration.detection import Series, Tally
from trainer.calibration.serving_commands import CameraScores, Scores
from trainer.calibration.streams import Material, Recorded
from trainer.calibration.temperature import ScoreRule, Temperature, Windows, fit_temperature, probabilities
from trainer.calibration.threshold_search import Fit, Measure, fit
from trainer.errors import CalibrationError
from trainer.export.draft import check_version, new_directory
from trainer.progress import Report, silent

_AT_ONCE = 4  # streams per replay
_TOGETHER = 2  # replays: while one decodes, the other encodes
_SAME = 1e-3  # largest difference between our probabilities and the replay's


@dataclass(frozen=True)
class Seen:
    """Streams as a bundle saw them: video files, their truth, and the scores and events of a replay."""

    recorded: Recorded
    scores: Scores
    events: Path

    def windows(self) -> list[Windows]:
        """The scored windows of each camera, in the order of the truth. Raises CalibrationError where one has none."""
        found = []
        for camera in self.recorded.truth["cameras"]:
            scored: CameraScores | None = self.scores.cameras.get(camera["id"])
            if scored is None:
                raise CalibrationError(
                    f"{self.recorded.files[camera['id']]} of {camera['id']} holds no whole window of the bundle: it is "
                    "too short, or its pictures lie too far apart; leave it out, or name a longer recording"
                )
            truth: dict[int, list[tuple[float, float]]] = {}
            for action in camera["actions"]:
                truth.setdefault(self.scores.labels.index(action["label"]), []).append((action["start"], action["end"]))
            found.append(
                Windows(
                    scored.seconds(camera["id"], self.scores.rate),
                    scored.label_cosines,
                    scored.reference_cosines,
                    truth,
                )
            )
        return found


def calibrate(
    source: Path,
    out: Path,
    material: Material,
    *,
    measure: Measure | None = None,
    version: str | None = None,
    report: Report = silent,
) -> bundles.Manifest:
    """Measure the bundle `source` (draft or sealed) and write it, calibrated and sealed, to the new directory `out`.

    material: the streams that decide, and those that measure the result. measure: what a good threshold is. version: of
    the new bundle, where it is another than the source's. Returns the sealed manifest, whose `events.report` holds what
    the held-back streams gave. Nothing is left at `out` when it fails.
    Raises CommandError, CalibrationError, ExportError, EngineError.
    """
    version = version and check_version(version)
    manifest = bundles.load(source, allow_draft=True).manifest
    with new_directory(out) as building, tempfile.TemporaryDirectory(prefix="actionwire-") as folder:
        shutil.copytree(source, building, dirs_exist_ok=True)
        score_rule(building, manifest, material.labels)  # first: it refuses unreadable labels
        work = Replays(building, manifest.window.rate, material.labels, report, Path(folder))
        fitting = work.replay("fit", material.fit)
        quiet = work.replay("quiet", material.quiet)
        rule = score_rule(building, manifest, fitting.scores.labels)
        _check(fitting.scores, rule)
        report("temperature", 0, 1, "")
        windows = fitting.windows()
        temperature = fit_temperature(windows, rule, manifest.window.rate, manifest.window.frames)
        report("temperature", 1, 1, f"{temperature.value:g}")
        rule = replace(rule, temperature=temperature.value)
        report("thresholds", 0, 1, "")
        found = fit(
            _series(windows, rule, fitting.recorded),
            manifest.window.rate,
            lag=temperature.lag,
            window=manifest.window.frames / manifest.window.rate,
            quiet=_series(quiet.windows(), rule, quiet.recorded),
            measure=measure,
        )
        report("thresholds", 1, 1, "")
        events = _events(found, fitting.scores.labels, manifest.window.rate)
        score = manifest.score.model_copy(update={"temperature": temperature.value})
        bundles.seal(building, score=score, events=events, version=version)
        figures = _measured(work, material, rule, found, temperature)
        return bundles.seal(building, events=events.model_copy(update={"report": figures}))


@dataclass(frozen=True)
class Replays:
    """Streams replayed through one bundle, and what every replay of it needs."""

    bundle: Path
    rate: int
    labels: tuple[str, ...]
    report: Report
    folder: Path
    precision: str = "fp32"

    def replay(self, what: str, recorded: Recorded) -> Seen:
        """Replay streams through the bundle, a few at a time."""
        events = self.folder / f"{what}.jsonl"
        told = Scores(self.rate, self.labels, (), {})
        cameras: dict[str, CameraScores] = {}
        groups = list(_groups(recorded.files))
        with events.open("wb") as stream, ThreadPoolExecutor(_TOGETHER) as pool:
            for done, (part, told) in enumerate(pool.map(self._replay, groups), 1):
                stream.write(part)
                cameras |= told.cameras
                self.report(f"replay {what}", done, len(groups), "")
        return Seen(recorded, replace(told, cameras=cameras), events)

    def _replay(self, files: Mapping[str, Path]) -> tuple[bytes, Scores]:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            events, scores = Path(folder) / "events.jsonl", Path(folder) / "scores.npz"
            serving_commands.replay(self.bundle, self.rate, self.labels, files, events, scores, self.precision)
            return events.read_bytes(), serving_commands.read_scores(scores)

    def evaluate(self, what: str, seen: Seen) -> dict[str, Any]:
        """The figures of `actionwire evaluate` for streams."""
        return serving_commands.evaluate(seen.recorded.write_truth(self.folder / f"{what}.truth.json"), seen.events)


def _groups(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    named = list(files.items())
    for at in range(0, len(named), _AT_ONCE):
        yield dict(named[at : at + _AT_ONCE])


def score_rule(directory: Path, manifest: bundles.Manifest, labels: tuple[str, ...]) -> ScoreRule:
    """The bundle's scoring rule for some labels. A label does not compete with reference texts of the same meaning."""
    texts = TextEncoder(bundles.load(directory, allow_draft=True))
    try:
        left_out = texts.bank(labels).left_out
    finally:
        texts.close()
    # A label that would compete with none competes with all.
    competes = np.where(left_out.all(axis=1, keepdims=True), True, ~left_out)
    score = manifest.score
    return ScoreRule(score.function, score.logit_scale, score.logit_bias or 0.0, score.temperature, competes)


def _check(scores: Scores, rule: ScoreRule) -> None:
    """Raise CalibrationError where our probabilities differ from the replay's: thresholds would be wrong."""
    for camera, one in scores.cameras.items():
        gap = np.abs(probabilities(one.label_cosines, one.reference_cosines, rule) - one.probabilities)
        if gap.size and float(gap.max()) > _SAME:
            raise CalibrationError(
                f"the replay's probabilities of {camera} differ by {gap.max():.2g} from those of the scoring rule; "
                f"install actionwire and actionwire-trainer of the same version"
            )


def _series(windows: list[Windows], rule: ScoreRule, recorded: Recorded) -> list[Series]:
    return [
        Series(one.seconds, probabilities(one.label_cosines, one.reference_cosines, rule), one.truth, camera["seconds"])
        for one, camera in zip(windows, recorded.truth["cameras"], strict=True)
    ]


def _events(found: Fit, labels: tuple[str, ...], rate: int) -> bundles.Events:
    defaults = asdict(found.defaults)
    own = {label: asdict(rules) for label, rules in zip(labels, found.rules, strict=True)}
    differing = {
        label: {name: value for name, value in rules.items() if value != defaults[name]}
        for label, rules in sorted(own.items())
    }
    return bundles.Events(
        defaults=bundles.EventSettings(**defaults),
        onset_lag_ticks=round(found.onset_lag * rate),
        offset_lag_ticks=round(found.offset_lag * rate),
        labels={label: bundles.EventOverride(**values) for label, values in differing.items() if values},
        calibrated=True,
    )


def _extent(material: Material) -> dict[str, Any]:
    """On how much the thresholds were fitted."""
    actions = sum(len(camera["actions"]) for camera in material.fit.truth["cameras"])
    return {
        "seconds": round(3600 * material.fit.hours, 1),
        "quiet_seconds": round(3600 * material.quiet.hours, 1),
        "actions": actions,
    }


def _measured(
    work: Replays, material: Material, rule: ScoreRule, found: Fit, temperature: Temperature
) -> dict[str, Any]:
    """The figures of the sealed bundle on held-back streams, by the serving side's own commands."""
    seen = work.replay("held-back", material.held_back)
    figures = work.evaluate("held-back", seen)
    searched = sum(found.tallies(_series(seen.windows(), rule, seen.recorded), work.rate), Tally())
    come = material.sources
    report = {
        **material.notes,
        "fitted_on": come["fit"] | {f"quiet_{key}": name for key, name in come["quiet"].items()} | _extent(material),
        "held_back": {**come["held_back"], **figures, "event_f1_of_the_search": round(searched.f1, 4)},
        "temperature": {
            "lag_s": temperature.lag,
            "loss": round(temperature.loss, 5),
            "loss_at_one": round(temperature.loss_at_one, 5),
        },
    }
    if material.held_back_quiet.files:
        silent = work.evaluate("held-back quiet", work.replay("held-back quiet", material.held_back_quiet))
        names = ("camera_hours", "false_alarms", "false_alarms_per_camera_hour")
        report["held_back_quiet"] = come["held_back_quiet"] | {name: silent[name] for name in names}
    return report
