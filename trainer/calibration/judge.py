"""An int8 variant judged by what it is for: the windows and the events of streams that measure, beside float32's."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.bundle import files as bundles
from engines.bundle.manifest import Variant
from trainer.calibration.calibrate import Replays, Seen
from trainer.calibration.streams import Material, Recorded, Truth
from trainer.calibration.temperature import Windows
from trainer.errors import CalibrationError
from trainer.export.draft import check_version, new_directory
from trainer.progress import Report, silent

TOP1_LIMIT = 0.005
EVENTS_LIMIT = 0.01
_TOGETHER_SECONDS = 1.0
"""Two events of one camera and label that begin within this time are one."""

Started = tuple[str, str, float]
"""Camera, label and start in seconds of an event."""


def judge(
    source: Path, out: Path, material: Material, *, version: str | None = None, report: Report = silent
) -> Variant:
    """Compare the int8 variant of the sealed bundle `source` with float32, and write the bundle, judged, to `out`.

    material: only the streams that measure are replayed. Returns the variant with its `top1` and `events`.
    Raises CalibrationError for a bundle without a variant and for one above the limits, CommandError, ExportError,
    EngineError. Nothing is left at `out` then.
    """
    version = version and check_version(version)
    manifest = bundles.load(source).manifest
    variant = manifest.variants.get("int8")
    if variant is None:
        raise CalibrationError(f"{source} has no int8 variant to judge; make one with `actionwire-engines quantise`")
    with new_directory(out) as building, tempfile.TemporaryDirectory(prefix="actionwire-") as folder:
        shutil.copytree(source, building, dirs_exist_ok=True)
        work = Replays(building, manifest.window.rate, material.labels, report, Path(folder))
        recorded = _together(material.held_back, material.held_back_quiet)
        float32 = work.replay("float32", recorded)
        int8 = replace(work, precision="int8").replay("int8", recorded)
        lost = _accuracy(float32) - _accuracy(int8)
        events = difference(_started(float32.events), _started(int8.events))
        if lost > TOP1_LIMIT or events > EVENTS_LIMIT:
            raise CalibrationError(
                f"int8 of {source} loses {lost:.2%} of top-1 and {events:.2%} of its events differ; {TOP1_LIMIT:.1%} "
                f"and {EVENTS_LIMIT:.0%} are allowed: quantise again with more frames of your cameras, or keep nodes "
                "in float32"
            )
        judged = variant.model_copy(update={"top1": round(lost, 5), "events": round(events, 5)})
        bundles.add_variant(building, judged, version=version)
    return judged


def difference(one: Sequence[Started], other: Sequence[Started]) -> float:
    """Return the share of events, of both together, that have no counterpart of the same camera and label near them."""
    left = sorted(other)
    missing = 0
    for camera, label, start in sorted(one):
        near = [event for event in left if event[:2] == (camera, label) and abs(event[2] - start) <= _TOGETHER_SECONDS]
        if near:
            left.remove(min(near, key=lambda event: abs(event[2] - start)))
        else:
            missing += 1
    total = len(one) + len(other)
    return (missing + len(left)) / total if total else 0.0


def top1(windows: Iterable[tuple[Windows, npt.NDArray[np.float32]]]) -> float:
    """Return the share of windows, of those that end while one action happens, whose most probable label it is.

    windows: each camera's, with probabilities [n, L]. 1.0 where there is no such window.
    """
    hits: list[bool] = []
    for camera, probabilities in windows:
        for label, spans in camera.truth.items():
            for start, end in spans:
                inside = (camera.seconds >= start) & (camera.seconds <= end)
                hits += (probabilities[inside].argmax(axis=1) == label).tolist()
    return float(np.mean(hits)) if hits else 1.0


def _accuracy(seen: Seen) -> float:
    scored = [seen.scores.cameras[camera["id"]].probabilities for camera in seen.recorded.truth["cameras"]]
    return top1(zip(seen.windows(), scored, strict=True))


def _together(one: Recorded, other: Recorded) -> Recorded:
    truth: Truth = {"schema": one.truth["schema"], "cameras": [*one.truth["cameras"], *other.truth["cameras"]]}
    return Recorded(one.files | other.files, truth)


def _started(path: Path) -> list[Started]:
    events = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        (event["camera"], event["label"]["id"], datetime.fromisoformat(event["start"]).timestamp())
        for event in events
        if event["phase"] == "started"
    ]
