"""Examples as labelled clips for the trainer: today's label by example is tomorrow's class of a fine-tuned model.

    clips/<label>-<example>.mp4    the JPEGs as they are, each at its own time
    labels.csv                     path, label, group, role: what `trainer.data.manifest` reads

What a label is not becomes background, unless it is an example of another label. Clips of one camera are one group, so
that none is trained on and measured with.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet

from pipeline.errors import BadRecordError, ConfigurationError
from pipeline.records.examples import Example
from pipeline.records.jpeg import decode_jpeg
from pipeline.records.labels import Label

COLUMNS = ("path", "label", "group", "role")
_LARGEST_RATIO = 1000


def export(labels: Iterable[Label], found: Mapping[tuple[str, str], Example], folder: Path) -> tuple[int, int]:
    """Write the examples of these labels into a new folder; return how many show an action, and how many do not.

    found: examples by label and id; one that is not there is left out.
    Raises ConfigurationError for a folder that holds something or cannot be written.
    """
    labels = list(labels)
    actions = [(label, found[label.id, one]) for label in labels for one in label.examples if (label.id, one) in found]
    shown = {example.id for _, example in actions}
    rest = {one: found[label.id, one] for label in labels for one in label.counterexamples if (label.id, one) in found}
    background = [example for one, example in rest.items() if one not in shown]
    rows = [(example, label.text, "action") for label, example in actions]
    rows += [(example, "", "background") for example in background]
    try:
        (folder / "clips").mkdir(parents=True)
        with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            written = csv.writer(file)
            written.writerow(COLUMNS)
            for example, text, role in rows:
                path = f"clips/{example.label}-{example.id}.mp4"
                write_clip(example, folder / path)
                written.writerow((path, text, example.camera or example.source, role))
    except FileExistsError:
        raise ConfigurationError(f"{folder / 'clips'} is there already; name a new folder") from None
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror or error}") from error
    return len(actions), len(background)


def write_clip(example: Example, path: Path) -> None:
    """Write the pictures of an example as an MP4 of JPEGs, bit for bit as they are."""
    try:
        height, width = decode_jpeg(example.pictures[0].jpeg).shape[:2]
    except BadRecordError as error:
        raise ConfigurationError(f"example {example.label}/{example.id} holds no picture: {error}") from error
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=example.rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        pixel = Fraction(example.pictures[0].pixel).limit_denominator(_LARGEST_RATIO)
        stream.codec_context.sample_aspect_ratio = pixel
        for picture in example.pictures:
            packet = Packet(picture.jpeg)
            packet.stream, packet.time_base = stream, Fraction(1, example.rate)
            packet.pts = packet.dts = picture.tick
            packet.duration = 1
            packet.is_keyframe = True
            container.mux(packet)
