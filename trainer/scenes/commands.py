"""`actionwire-trainer scenes render`: cameras as MP4 files and their truth as JSON."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, TypedDict

import cv2
import numpy as np
import typer

from trainer.data.encode import encode_mp4
from trainer.scenes.clips import clips_command
from trainer.scenes.picture.render import render
from trainer.scenes.script import draw_stream
from trainer.scenes.vocabulary import SPLIT_SIZE, split_of

app = typer.Typer(help="Rendered, labelled surveillance scenes.", no_args_is_help=True)

SCHEMA = 1
_SECONDS_AT_ONCE = 2.0
_BITS_PER_PIXEL = 0.35


@app.callback()
def scenes() -> None:
    """Rendered, labelled surveillance scenes."""


def camera_seed(seed: int, camera: int) -> int:
    """The scene seed of camera number `camera` (from 1) of a run with `seed`, within the run seed's split.

    Test seeds are spread over a range of their own, so no two runs share a camera by being neighbours.
    """
    spread = zlib.crc32(f"{seed}/{camera}".encode())
    split = split_of(seed)
    if split == "test":
        return 2 * SPLIT_SIZE + spread
    return (0 if split == "train" else SPLIT_SIZE) + spread % SPLIT_SIZE


@dataclass(frozen=True)
class Recording:
    """What all cameras of a run share: length in seconds, frames per second, (width, height), how often people act."""

    seconds: float = 120.0
    fps: int = 12
    size: tuple[int, int] = (320, 240)
    density: float = 1.0


class ActionTruth(TypedDict):
    """An action as truth.json states it, in seconds; `actors` are the colours of the actors' tops."""

    label: str
    key: str
    start: float
    end: float
    actors: list[str | None]


class CameraTruth(TypedDict):
    """A camera's entry of truth.json; `file` lies beside it."""

    id: str
    file: str
    actions: list[ActionTruth]


class Truth(TypedDict):
    """truth.json of one run."""

    schema: int
    seed: int
    seconds: float
    fps: int
    cameras: list[CameraTruth]


def render_camera(seed: int, camera: int, recording: Recording, folder: Path) -> CameraTruth:
    """Draw one camera, write `camera-N.mp4` into `folder`, and return its entry of truth.json."""
    cv2.setNumThreads(1)  # one process per core is enough
    scene = draw_stream(camera_seed(seed, camera), recording.seconds, density=recording.density)
    fps, size = recording.fps, recording.size
    count = round(recording.seconds * fps)
    step = max(1, round(_SECONDS_AT_ONCE * fps))
    blocks = (render(scene, np.arange(first, min(count, first + step)) / fps, size) for first in range(0, count, step))
    name = f"camera-{camera}"
    bitrate = int(_BITS_PER_PIXEL * size[0] * size[1] * fps)
    encode_mp4(chain.from_iterable(blocks), folder / f"{name}.mp4", fps, bitrate)
    actions: list[ActionTruth] = [
        {
            "label": event.label, "key": event.key, "start": event.start, "end": event.end,
            "actors": list(event.actors),
        }
        for event in scene.events
    ]  # fmt: skip
    return {"id": name, "file": f"{name}.mp4", "actions": actions}


def _rendered(
    seed: int, cameras: int, recording: Recording, folder: Path, workers: int
) -> Iterator[tuple[int, CameraTruth]]:
    """Camera numbers and their entries, in the order in which they are finished."""
    numbers = range(1, cameras + 1)
    if workers <= 1:
        yield from ((number, render_camera(seed, number, recording, folder)) for number in numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(render_camera, seed, number, recording, folder): number for number in numbers}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def render_cameras(
    folder: Path,
    seed: int,
    cameras: int,
    recording: Recording,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Truth:
    """Write a run's cameras and truth.json into `folder` (made where missing), and return the truth.

    `progress` is called with the number of cameras done after each. Equal arguments give equal files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[int, CameraTruth] = {}
    for number, entry in _rendered(seed, cameras, recording, folder, min(workers, cameras)):
        found[number] = entry
        if progress is not None:
            progress(len(found))
    truth: Truth = {
        "schema": SCHEMA, "seed": seed, "seconds": recording.seconds, "fps": recording.fps,
        "cameras": [found[n] for n in sorted(found)],
    }  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    return truth


def parse_size(text: str) -> tuple[int, int]:
    """'320x240' to (320, 240); both even and at least 32. Raises typer.BadParameter otherwise."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no size; write WIDTHxHEIGHT, such as 320x240") from None
    if width < 32 or height < 32 or width % 2 or height % 2:
        raise typer.BadParameter(f"{text}: width and height must be even and at least 32")
    return width, height


def renderer_version() -> str:
    """Twelve hex digits that change with the source of the scenes: equal versions render equal files."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for name in sorted(source.relative_to(folder).as_posix() for source in folder.rglob("*.py")):
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return digest.hexdigest()[:12]


app.command("clips")(clips_command)


@app.command("version")
def version_command() -> None:
    """Print a version that changes with the renderer, for those who cache rendered files."""
    typer.echo(renderer_version())


@app.command("render")
def render_command(
    out: Annotated[Path, typer.Option(help="Folder for camera-N.mp4 and truth.json; made where missing.")],
    seed: Annotated[
        int, typer.Option(min=0, help="0-9999 train, 10000-19999 validate, 20000 and above test and demo.")
    ] = 20000,
    cameras: Annotated[int, typer.Option(min=1, max=256, help="Number of cameras.")] = 4,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of each camera's file in seconds.")] = 120.0,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames per second.")] = 12,
    size: Annotated[str, typer.Option(help="Picture size, WIDTHxHEIGHT.")] = "320x240",
    as_json: Annotated[bool, typer.Option("--json", help="Print the truth as JSON instead of a table.")] = False,
    density: Annotated[float, typer.Option(min=0.0, max=4.0, help="How often people act: 1 usual, 0 never.")] = 1.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render at once.")] = 2,
) -> None:
    """Render cameras in front of which people act, and the truth about it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    recording = Recording(seconds, fps, parse_size(size), density)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("rendering cameras", total=cameras)
        truth = render_cameras(out, seed, cameras, recording, workers, lambda done: bar.update(task, completed=done))
    if as_json:
        typer.echo(json.dumps(truth))
        return
    for camera in truth["cameras"]:
        typer.echo(f"{camera['id']}: {out / camera['file']}, {len(camera['actions'])} actions")
