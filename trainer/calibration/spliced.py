"""Clips spliced into quiet footage: camera streams whose truth is known, made from a list of clips.

    quiet | clip | quiet | clip | ... | quiet

The pictures are the clips' own, at the bundle's rate; an MP4 of that rate has one of them per tick. Where the list has
background, the quiet stretches show it; else the first picture of the clip that follows is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from engines.bundle.manifest import Input, Window
from engines.preprocess import prepare
from trainer.calibration.streams import ActionTruth, CameraTruth, Recorded
from trainer.data.decode import Pictures, read_clip
from trainer.data.encode import encode_mp4
from trainer.data.manifest import Clip
from trainer.errors import VideoError
from trainer.progress import Count

HELD, BACKGROUND = "held pictures", "background clips"
"""What the quiet stretches show."""

_CLIPS_PER_STREAM = 8
_LARGER = 2.0
"""Pictures of a stream have at most this many times the network's sides, so that the JPEG between them costs what it
costs a camera, whose pictures are larger too."""
_SHORT_SIDE = 256
"""What ingest scales pictures to; larger ones would be scaled once more."""
_MARGIN_SECONDS = 2.0
_BITS_PER_PIXEL = 8


@dataclass(frozen=True)
class Form:
    """What a stream must look like for a bundle: its windows and its pictures."""

    window: Window
    input: Input

    @property
    def quiet(self) -> int:
        """Pictures between two clips: a window that shows the one shows nothing of the other."""
        return self.window.frames + round(_MARGIN_SECONDS * self.window.rate)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a stream's pictures, even numbers as H.264 wants them."""
        sides = self.input.height, self.input.width
        factor = max(1.0, min(_LARGER, _SHORT_SIDE / min(sides)))
        height, width = (2 * int(side * factor / 2 + 0.5) for side in sides)
        return height, width

    def pictures(self, clip: Clip) -> Iterator[Pictures]:
        """The pictures of a clip at the bundle's rate, in the shape that the network sees, but larger."""
        height, width = self.size
        shape = self.input.model_copy(update={"height": height, "width": width})
        for seconds, picture in read_clip(Path(clip.path), self.window.rate):
            if seconds >= clip.until:
                return
            if seconds >= clip.start:
                yield prepare(picture, shape)


@dataclass
class Spliced:
    """Streams that were made, and what of the clips did not go into them."""

    recorded: Recorded
    quiet_shows: str
    clips: dict[str, int] = field(default_factory=dict)
    """How many clips of each label are in the streams."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Places of clips that could not be read, and why."""


def splice(
    clips: Sequence[Clip],
    background: Sequence[Clip],
    form: Form,
    folder: Path,
    progress: Count,
    *,
    prefix: str = "clips",
    per_stream: int = _CLIPS_PER_STREAM,
) -> Spliced:
    """Streams of some clips each, as MP4 files in `folder`, and what happens in them.

    background: clips in which no label happens, taken in turn. A clip that cannot be read is left out and named.
    """
    made = Spliced(Recorded({}, {"schema": 1, "cameras": []}), BACKGROUND if background else HELD)
    quiet = endless(background, form)
    for number, first in enumerate(range(0, len(clips), per_stream)):
        camera = f"{prefix}-{number + 1}"
        stream = _Stream(form, quiet, made)
        path = folder / f"{camera}.mp4"
        count = write(stream.pictures(clips[first : first + per_stream]), path, form)
        if stream.actions:
            made.recorded.files[camera] = path
            made.recorded.truth["cameras"].append(_camera(camera, count, form, stream.actions))
        progress(min(first + per_stream, len(clips)), len(clips))
    return made


def quiet_streams(background: Sequence[Clip], form: Form, folder: Path, progress: Count, prefix: str) -> Recorded:
    """The background clips one after the other, as one stream in which nothing happens; none where it is short."""
    if not background:
        return Recorded({}, {"schema": 1, "cameras": []})
    path, camera = folder / f"{prefix}.mp4", prefix

    def shown() -> Iterator[Pictures]:
        for done, clip in enumerate(background, 1):
            yield from _readable(clip, form, {})
            progress(done, len(background))

    count = write(shown(), path, form)
    if count < 2 * form.window.frames:
        return Recorded({}, {"schema": 1, "cameras": []})
    return Recorded({camera: path}, {"schema": 1, "cameras": [_camera(camera, count, form, [])]})


@dataclass
class _Stream:
    """One stream while it is written: where each action lies is known as its pictures pass."""

    form: Form
    quiet: Callable[[int], list[Pictures]]
    made: Spliced
    written: int = 0
    actions: list[ActionTruth] = field(default_factory=list)

    def pictures(self, clips: Sequence[Clip]) -> Iterator[Pictures]:
        """All pictures of the stream, in order."""
        last: Pictures | None = None
        for clip in clips:
            shown = list(_readable(clip, self.form, self.made.skipped))
            if not shown:
                continue
            yield from self._between(shown[0])
            self._note(clip, len(shown))
            yield from shown
            last = shown[-1]
        if last is not None:
            yield from self._between(last)

    def _between(self, neighbour: Pictures) -> list[Pictures]:
        found = self.quiet(self.form.quiet) or [neighbour] * self.form.quiet
        self.written += len(found)
        return found

    def _note(self, clip: Clip, count: int) -> None:
        rate = self.form.window.rate
        start, self.written = self.written, self.written + count
        for label in clip.labels:
            self.actions.append({"label": label, "start": start / rate, "end": self.written / rate})
            self.made.clips[label] = self.made.clips.get(label, 0) + 1


def endless(background: Sequence[Clip], form: Form) -> Callable[[int], list[Pictures]]:
    """A function that gives the next pictures of the background clips, in turn and over again; none without any."""

    def around() -> Iterator[Pictures]:
        while True:
            found = 0
            for clip in background:
                for picture in _readable(clip, form, {}):
                    found += 1
                    yield picture
            if not found:
                return

    pictures = around()
    return lambda count: list(islice(pictures, count))


def write(pictures: Iterator[Pictures], path: Path, form: Form) -> int:
    """Write pictures that have the form's size as a stream of the bundle's rate; returns how many there were."""
    height, width = form.size
    pixels = height * width
    return encode_mp4(pictures, path, form.window.rate, pixels * form.window.rate * _BITS_PER_PIXEL)


def _readable(clip: Clip, form: Form, skipped: dict[str, str]) -> Iterator[Pictures]:
    try:
        yield from form.pictures(clip)
    except VideoError as error:
        skipped[clip.place] = error.reason


def _camera(camera: str, count: int, form: Form, actions: list[ActionTruth]) -> CameraTruth:
    return {"id": camera, "seconds": count / form.window.rate, "actions": actions}
