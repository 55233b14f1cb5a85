"""Vision transformers of CLIP's size on this machine: one step of fine-tuning, published, served; the memory of each.

The weights are random, in a file of open_clip's own form: what is measured is whether the road is open and how wide,
not what such a model knows. Every step is the command that a user types, in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import torch
import yaml
from safetensors.torch import save_file

from trainer.data.folder import write_list
from trainer.data.manifest import Clip
from trainer.errors import CommandError
from trainer.progress import Report
from trainer.real import footage

TOWERS: Mapping[str, str] = {"vit_b32": "ViT-B-32-quickgelu", "vit_b16": "ViT-B-16-quickgelu"}
"""What is measured, by the name of its figures: the towers of ActionCLIP's published models."""

_LABELS = ("hugging", "kicking")
_TRAIN, _VALIDATE = tuple(f"seq{number}" for number in range(1, 7)), ("seq7", "seq8")
_PICTURES = 8
_WINDOWS = 4
"""Windows that a worker must have scored before it counts as serving."""
_PATIENCE = 900.0
_LAST = 3000


def road(place: Path, cache: Path, report: Report, towers: Sequence[str] = tuple(TOWERS)) -> dict[str, float]:
    """Peak memory in GiB of one step, of `publish` and of a worker that scores windows, for each of the towers.

    Raises CommandError with the end of its log where a command fails, or a worker scores nothing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    for name in towers:
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=cache) as folder:
            figures |= _road(name, place, Path(folder), cache, report)
    return figures


def _road(name: str, place: Path, folder: Path, cache: Path, report: Report) -> dict[str, float]:
    figures: dict[str, float] = {}

    def took(step: str, peak: float) -> None:
        figures[f"{name}_{step}_gib"] = round(peak, 2)
        report(name, len(figures), 3, f"{step} {peak:.2f} GiB")

    written = _written(name, place, folder)
    took("step", _peak(folder, "trainer.cli", "train", written, "--out", folder / "run", "--cache", cache))
    took("publish", _peak(folder, "trainer.cli", "publish", folder / "run", "--store", folder / "store"))
    took("worker", _served(name, _clips(place)[-1], folder))
    return figures


def random_weights(architecture: str, path: Path, seed: int = 1) -> None:
    """A file with the tensors of an open_clip model that has learned nothing."""
    torch.manual_seed(seed)
    state = open_clip.create_model(architecture, load_weights=False).state_dict()
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)


def _written(name: str, place: Path, folder: Path) -> Path:
    """A recipe of one step in which all of the model learns, with its weights and clips beside it."""
    weights, listed = folder / "weights.safetensors", folder / "labels.csv"
    random_weights(TOWERS[name], weights)
    write_list(_clips(place), listed)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(name, weights, listed)), "utf-8")
    return path


def recipe(name: str, weights: Path, clips: Path) -> dict[str, Any]:
    """One step of fine-tuning by ActionCLIP's setting, on a batch that two cores can bear."""
    return {
        "name": name.replace("_", "-"),
        "licence": "measurement only",
        "start": {"kind": "clip", "name": TOWERS[name], "pretrained": str(weights)},
        "data": {"clips": str(clips), "sampling": "window", "rate": 4},
        "model": {"frames": _PICTURES, "head": {"architecture": "transf", "layers": 6, "init": "paper"}},
        "augment": {"kind": "published"},
        "optimiser": {"rate": 5e-6, "head_ratio": 10, "warmup_steps": 0, "accumulate": 4, "average": 0},
        "stages": [{"steps": 1, "chunks": 4, "ticks": _PICTURES}],
    }


def _clips(place: Path) -> list[Clip]:
    """A few clips of two labels, by sequence: some train, some validate."""
    sides = dict.fromkeys(_TRAIN, "train") | dict.fromkeys(_VALIDATE, "validate")
    return [
        replace(clip, split=sides[clip.group])
        for clip in footage.clips(place, footage.UT)
        if clip.label in _LABELS and clip.group in sides
    ]


def _served(name: str, clip: Clip, folder: Path) -> float:
    """Peak memory of a worker that scores a camera's windows over a real Kafka, in GiB."""
    port = _free_port()
    settings = {
        "cameras": {"door": {"url": clip.path, "loop": True}},
        "labels": list(_LABELS),
        "worker": {"bundle": name.replace("_", "-"), "overload": "queue", "start": "begin"},
        "http": {"worker_port": port, "ingest_port": None},
    }
    config = folder / "actionwire.json"
    with _broker(folder) as bootstrap:
        config.write_text(json.dumps(settings | {"kafka": {"bootstrap": bootstrap}}), "utf-8")
        _run(folder, "pipeline.cli", "topics", "--config", config)
        with _running(folder, "pipeline.cli", "ingest", "--config", config):
            log = folder / "worker.log"
            worker = _started(folder, log, "pipeline.cli", "worker", "--no-supervise", "--config", config)
            try:
                _until_scored(worker, port, log)
            finally:
                worker.terminate()
                _, _, usage = os.wait4(worker.pid, 0)
            return _gibibytes(usage.ru_maxrss)


def _until_scored(worker: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while _windows(port) < _WINDOWS:
        if time.monotonic() > deadline or os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise CommandError(f"the worker has scored fewer than {_WINDOWS} windows:\n{_end(log)}")
        time.sleep(0.5)


def _windows(port: int) -> float:
    """How many windows the worker at this port has scored; 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2.0) as answer:
            found = re.search(r"^actionwire_windows_total (\S+)$", answer.read().decode(), re.MULTILINE)
    except (OSError, urllib.error.URLError):
        return 0.0
    return float(found[1]) if found else 0.0


@contextlib.contextmanager
def _broker(folder: Path) -> Iterator[str]:
    """The address of a Kafka node of our own."""
    data = folder / "broker"
    _run(folder, "pipeline.cli", "broker", "start", "--quick", "--port", "0", "--data", data)
    try:
        told: dict[str, Any] = json.loads(_run(folder, "pipeline.cli", "broker", "status", "--json", "--data", data))
        yield str(told["bootstrap"])
    finally:
        _run(folder, "pipeline.cli", "broker", "stop", "--data", data)


@contextlib.contextmanager
def _running(folder: Path, *command: object) -> Iterator[None]:
    process = _started(folder, folder / f"{command[1]}.log", *command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _run(folder: Path, *command: object) -> str:
    """What a command prints. Raises CommandError."""
    log = folder / f"{command[1]}.log"
    if code := _started(folder, log, *command).wait():
        raise CommandError(f"`{command[1]}` failed with exit code {code}:\n{_end(log)}")
    return log.read_text("utf-8", errors="replace")


def _peak(folder: Path, *command: object) -> float:
    """The most memory that a command had at once, in GiB. Raises CommandError."""
    log = folder / f"{command[1]}.log"
    _, status, usage = os.wait4(_started(folder, log, *command).pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise CommandError(f"`{command[1]}` failed with exit code {code}:\n{_end(log)}")
    return _gibibytes(usage.ru_maxrss)


def _started(folder: Path, log: Path, *command: object) -> subprocess.Popen[bytes]:
    """One of our commands, with a store and settings of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTIONWIRE_")}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environment | {"ACTIONWIRE_STORE": str(folder / "store")},
        )  # fmt: skip


def _end(log: Path) -> str:
    return log.read_text("utf-8", errors="replace")[-_LAST:]


def _gibibytes(resident: int) -> float:
    return resident / 2**20 if sys.platform.startswith("linux") else resident / 2**30  # KiB there, bytes elsewhere


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
