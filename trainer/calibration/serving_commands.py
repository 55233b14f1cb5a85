"""The serving side's commands, run as processes of their own: `actionwire replay` and `actionwire evaluate`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from trainer.errors import CommandError

Floats = npt.NDArray[np.float32]

EPOCH_SECONDS = 1_767_225_600
"""Capture time of the first picture of a replayed file: 2026-01-01T00:00:00Z, the replay's own default."""
_LAST_LINES = 12


@dataclass(frozen=True)
class CameraScores:
    """What a replay wrote about the n windows of one camera; L labels, R reference texts, P templates.

    ticks [n], the last tick of each window; probabilities [n, L]; label_cosines [n, L, P]; reference_cosines [n, R, P];
    embeddings [n, D].
    """

    ticks: npt.NDArray[np.int64]
    probabilities: Floats
    label_cosines: Floats
    reference_cosines: Floats
    embeddings: Floats

    def seconds(self, camera: str, rate: int) -> npt.NDArray[np.float64]:
        """When the windows' last frames were due, in seconds of the file (ARCHITECTURE 3a)."""
        phase = crc32(camera.encode()) % 64 / 64
        return (self.ticks - EPOCH_SECONDS * rate + phase) / rate


@dataclass(frozen=True)
class Scores:
    """The scores of a replay, by camera."""

    rate: int
    labels: tuple[str, ...]
    references: tuple[str, ...]
    cameras: Mapping[str, CameraScores]


def replay(
    bundle: Path,
    rate: int,
    labels: Sequence[str],
    files: Mapping[str, Path],
    events: Path,
    scores: Path | None = None,
    precision: str = "fp32",
) -> None:
    """Replay video files (by camera id) through a bundle, draft or sealed, and write its events and scores.

    rate: sampled frames per second. precision: as a worker's. Raises CommandError.
    """
    with tempfile.TemporaryDirectory(prefix="actionwire-") as folder:
        config = Path(folder) / "actionwire.json"
        # The user's own settings must not influence a measurement.
        settings = {"rate": rate, "labels": list(labels), "worker": {"precision": precision}}
        config.write_text(json.dumps(settings), "utf-8")
        _run(
            "replay", "--config", str(config), "--bootstrap", "in-process", "--bundle", str(bundle), "--draft",
            "--json", str(events), *(("--scores", str(scores)) if scores else ()),
            *(part for camera, file in files.items() for part in ("--camera", f"{camera}={file}")),
        )  # fmt: skip


def evaluate(truth: Path, events: Path) -> dict[str, Any]:
    """The figures that `actionwire evaluate --json` prints. Raises CommandError."""
    text = _run("evaluate", "--truth", str(truth), "--events", str(events), "--json")
    return dict(json.loads(text))


def read_scores(path: Path) -> Scores:
    """Read what `actionwire replay --scores` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        cameras = sorted({name.rpartition("/")[0] for name in arrays.files if "/" in name})
        return Scores(
            rate=int(arrays["rate"]),
            labels=tuple(str(text) for text in arrays["labels"]),
            references=tuple(str(text) for text in arrays["references"]),
            cameras={
                camera: CameraScores(
                    ticks=arrays[f"{camera}/ticks"],
                    probabilities=arrays[f"{camera}/probabilities"],
                    label_cosines=arrays[f"{camera}/label_cosines"],
                    reference_cosines=arrays[f"{camera}/reference_cosines"],
                    embeddings=arrays[f"{camera}/embeddings"],
                )
                for camera in cameras
            },
        )


def _run(*arguments: str) -> str:
    """Standard output of an `actionwire` command. Raises CommandError with its last lines."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTIONWIRE_")}
    done = subprocess.run(
        [_command(), *arguments], capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        raise CommandError(f"`actionwire {arguments[0]}` failed with exit code {done.returncode}:\n{said}")
    return done.stdout


def _command() -> str:
    beside = Path(sys.executable).with_name("actionwire")
    found = str(beside) if beside.exists() else shutil.which("actionwire")
    if found is None:
        raise CommandError("the command actionwire is not installed beside actionwire-trainer; install it again")
    return found
