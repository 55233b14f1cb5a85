"""A published bundle on streams: clips of sequences it never saw, spliced into surveillance footage, replayed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from engines.backends import open_engine
from engines.bundle import files as bundles
from engines.preprocess import prepare
from trainer.calibration.calibrate import Replays, Seen
from trainer.calibration.spliced import Form, Spliced, quiet_streams, splice
from trainer.calibration.streams import ActionTruth, CameraTruth
from trainer.data.decode import read_clip
from trainer.data.manifest import Clip
from trainer.progress import Report, counted

_JPEG = 85  # what ingest compresses pictures with, unless it is told otherwise


@dataclass(frozen=True)
class Streamed:
    """What a replay of spliced clips and of quiet footage gave."""

    clips: Seen
    quiet: Seen
    made: Spliced
    rate: int
    window_seconds: float


def replayed(
    bundle: Path, labels: Sequence[str], clips: Sequence[Clip], quiet: Clip, folder: Path, report: Report
) -> Streamed:
    """Splice clips into the quiet footage, and replay that and the footage alone through a bundle."""
    manifest = bundles.load(bundle).manifest
    form = Form(manifest.window, manifest.input)
    folder.mkdir(parents=True, exist_ok=True)
    made = splice(clips, [quiet], form, folder, counted(report, "splice"), prefix="held-out")
    alone = quiet_streams([quiet], form, folder, counted(report, "splice quiet"), "quiet")
    work = Replays(bundle, manifest.window.rate, tuple(labels), report, folder)
    window = manifest.window
    shown, silence = work.replay("clips", made.recorded), work.replay("alone", alone)
    return Streamed(shown, silence, made, window.rate, window.frames / window.rate)


def events_of(path: Path) -> list[dict[str, Any]]:
    """The last message of every event of a replay, with its span in seconds of its file."""
    last: dict[str, dict[str, Any]] = {}
    for line in path.read_text("utf-8").splitlines():
        message = json.loads(line)
        last[message["id"]] = message
    return list(last.values())


def found(streamed: Streamed) -> float:
    """The share of the actions during which an event of their label went on."""
    happened = events_of(streamed.clips.events)
    hits = total = 0
    for camera in streamed.clips.recorded.truth["cameras"]:
        for action in camera["actions"]:
            total += 1
            hits += any(_over(event, camera, action["label"], action["start"], action["end"]) for event in happened)
    return hits / total


def fired(streamed: Streamed) -> float:
    """The share of the actions during which, or at most a window later, an event of their label was started.

    Stricter than `found`: an event that began long before and goes on through an action counts for nothing.
    """
    messages = [json.loads(line) for line in streamed.clips.events.read_text("utf-8").splitlines()]
    starts = [message for message in messages if message["phase"] == "started"]
    hits = [
        any(_in_time(event, camera, action, streamed.window_seconds) for event in starts)
        for camera in streamed.clips.recorded.truth["cameras"]
        for action in camera["actions"]
    ]
    return sum(hits) / len(hits)


def _in_time(event: Mapping[str, Any], camera: CameraTruth, action: ActionTruth, late: float) -> bool:
    right = event["camera"] == camera["id"] and event["label"]["text"] == action["label"]
    return right and action["start"] < _seconds(event["time"]) < action["end"] + late


def _over(event: Mapping[str, Any], camera: CameraTruth, label: str, start: float, end: float) -> bool:
    if event["camera"] != camera["id"] or event["label"]["text"] != label:
        return False
    begin, until = _seconds(event["start"]), _seconds(event["end"] or event["time"])
    return begin < end and until > start


def _seconds(instant: str) -> float:
    """Seconds since a replay's epoch, 2026-01-01."""
    return float(
        (np.datetime64(instant.rstrip("Z"), "us") - np.datetime64("2026-01-01", "us")) / np.timedelta64(1, "s")
    )


def largest_difference(bundle: Path, streamed: Streamed) -> float:
    """The largest difference between the replay's window embeddings and the engine's, offline, of equal pictures."""
    loaded = bundles.load(bundle)
    engine = open_engine(loaded)
    worst = 0.0
    try:
        for camera, file in streamed.clips.recorded.files.items():
            # One picture per tick, whatever the camera's phase: the stream has the bundle's rate.
            pictures = np.stack([_as_served(picture, loaded) for _, picture in read_clip(file, streamed.rate)])
            items, _ = engine.encode(pictures)
            frames = loaded.manifest.window.frames
            windows = np.stack([items[at : at + frames] for at in range(len(items) - frames + 1)])
            offline, _ = engine.embed(windows)
            served = streamed.clips.scores.cameras[camera].embeddings
            if len(served) != len(offline):
                return float("inf")
            worst = max(worst, float(np.abs(served - offline).max()))
    finally:
        engine.close()
    return worst


def _as_served(picture: npt.NDArray[np.uint8], bundle: bundles.Bundle) -> npt.NDArray[np.uint8]:
    """A picture after the JPEG between ingest and worker, at the network's size."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
    return prepare(decoded, bundle.manifest.input)


@dataclass(frozen=True)
class Alarms:
    """False alarms per hour at the strictest common threshold that still finds a share of the actions."""

    recall: float
    per_hour: float


def alarms_at(streamed: Streamed, recall: float) -> Alarms:
    """The highest threshold for all labels at which at least `recall` of the actions are found, and what it costs.

    An alarm is a run of windows of one label above the threshold that touches no action of that label; a window shows
    an action while any of its pictures does.
    """
    frames = None
    highest: list[float] = []
    others: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]] = []
    hours = streamed.clips.recorded.hours + streamed.quiet.recorded.hours
    for seen in (streamed.clips, streamed.quiet):
        for camera in seen.recorded.truth["cameras"]:
            scored = seen.scores.cameras[camera["id"]]
            ends = scored.seconds(camera["id"], streamed.rate)
            frames = frames or _frames(ends, camera["seconds"], streamed.rate)
            begins = ends - frames / streamed.rate
            for number, label in enumerate(seen.scores.labels):
                scores = scored.probabilities[:, number].astype(np.float64)
                shown = np.zeros(len(scores), bool)
                for action in camera["actions"]:
                    if action["label"] == label:
                        during = (ends > action["start"]) & (begins < action["end"])
                        highest.append(float(scores[during].max(initial=0.0)))
                        shown |= during
                others.append((scores, shown))
    needed = sorted(highest, reverse=True)[max(0, int(np.ceil(recall * len(highest))) - 1)]
    count = sum(_runs_apart(scores >= needed, shown) for scores, shown in others)
    return Alarms(float(np.mean([value >= needed for value in highest])), count / hours)


def _frames(ends: npt.NDArray[np.float64], seconds: float, rate: int) -> int:
    """T of a stream without gaps: its pictures, less one for each window after the first."""
    return max(1, round(seconds * rate) - len(ends) + 1)


def _runs_apart(high: npt.NDArray[np.bool_], shown: npt.NDArray[np.bool_]) -> int:
    """Runs of `high` that touch no window of `shown`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], high.astype(np.int8), [0]))))
    return sum(not shown[first:last].any() for first, last in zip(edges[::2], edges[1::2], strict=True))
