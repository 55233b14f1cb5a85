"""The cameras of a soak, odd ones among them, and the RTSP servers that are killed and come back."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import av
import numpy as np

from engines.testing import COLOURS
from pipeline import child_process
from pipeline.local.ports import free_port
from pipeline.local.rtsp import Media, RtspServer, load_media
from pipeline.records.jpeg import encode_jpeg
from pipeline.testing import mjpeg_camera

SHOWN = ("cyan", "magenta", "red", "green")
"""What a camera shows, one after the other, with grey between: each is an event of its label."""
SCENE_SECONDS = 3.0
FILM = "street"
RESTAMPED: Mapping[str, Callable[[int, float], float]] = {
    "stray": lambda number, at: at + (37_600 if number % 50 == 49 else 0),
    "standing": lambda number, at: at // 2 * 2,
    "paced": lambda number, at: at * 0.8,
}
ODD = (*RESTAMPED, "rare-keys", "mjpeg")
"""Kinds of odd cameras: stray, standing and wrongly paced stamps, key pictures far apart, JPEGs over HTTP."""


def write_film(file: Path, fps: int, gop: int) -> Path:
    """A film of colours, H.264."""
    with av.open(str(file), "w") as output:
        stream = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.gop_size = gop
        for colour in itertools.chain.from_iterable(("grey", one) for one in SHOWN):
            picture = av.VideoFrame.from_ndarray(np.full((120, 160, 3), COLOURS[colour], np.uint8), format="rgb24")
            for _ in range(round(SCENE_SECONDS * fps)):
                output.mux(stream.encode(picture))
                picture.pts = None
        output.mux(stream.encode(None))
    return file


class Served:
    """`actionwire camera serve` in a process of its own, that may be killed."""

    def __init__(self, film: Path, log: Path) -> None:
        self._film, self._log, self._port = film, log, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its only camera."""
        return f"rtsp://127.0.0.1:{self._port}/{self._film.stem}"

    def start(self) -> None:
        """Serve, on the same port as before."""
        command = [sys.executable, "-m", "pipeline.cli", "camera", "serve", str(self._film), "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = child_process.start(command, output=log)

    def kill(self) -> None:
        """SIGKILL: every connection breaks, and nobody listens."""
        if self._process is not None:
            child_process.kill_group(self._process)


class Street:
    """Every camera there is; use it as a context manager.

    Sound cameras are served by two processes, odd ones by this one: a server for each, so that each can be killed.
    """

    def __init__(self, folder: Path) -> None:
        film = write_film(folder / f"{FILM}.mp4", 25, 25)
        rare = write_film(folder / "rare.mp4", 15, 15 * 20)
        self._processes = [Served(film, folder / "cameras.log") for _ in range(2)]
        self._media: Mapping[str, Media] = {
            **dict.fromkeys(RESTAMPED, load_media(film)),
            "rare-keys": load_media(rare, longest_gop=60),
        }
        self._odd = {name: RtspServer() for name in self._media}
        self._stack = ExitStack()
        self._mjpeg = ""
        self._sound, self._others = itertools.cycle(self._processes), itertools.cycle(self._odd.values())

    def __enter__(self) -> Self:
        for name, server in self._odd.items():
            self._stack.enter_context(server)
            faults = server.add(FILM, self._media[name]).faults
            faults.reports, faults.restamp = False, RESTAMPED.get(name)
        jpegs = [encode_jpeg(np.full((120, 160, 3), COLOURS[one], np.uint8), 85) for one in SHOWN for _ in range(15)]
        self._mjpeg = self._stack.enter_context(mjpeg_camera(jpegs, 5, ("type",)))
        for one in self._processes:
            one.start()
            self._stack.callback(one.kill)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def cameras(self) -> Iterator[tuple[str, str]]:
        """Camera after camera, (name, URL), without an end: of each four the last is an odd one."""
        kinds = itertools.cycle(ODD)
        for number in itertools.count():
            if number % 4 != 3:
                yield f"sound-{number}", self._processes[number % len(self._processes)].url
                continue
            kind = next(kinds)
            yield f"{kind}-{number}", self._mjpeg if kind == "mjpeg" else self._odd[kind].url(FILM)

    def strike(self) -> Callable[[], None]:
        """Kill the next server of sound cameras, and the next of an odd one. What is returned starts them again."""
        killed, refusing = next(self._sound), next(self._others)
        killed.kill()
        refusing.refuse()
        refusing.drop()

        def back() -> None:
            killed.start()
            refusing.start()

        return back
