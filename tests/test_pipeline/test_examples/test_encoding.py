"""What an engine makes of examples: once, kept while a label names them, and no longer."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pytest

from pipeline.examples.encoding import ExampleEncoder, ExampleSource, WindowForm
from pipeline.records.examples import Example, ExamplePicture
from pipeline.records.jpeg import decode_jpeg, encode_jpeg
from pipeline.records.labels import Label
from pipeline.testing import ColourEngine, picture

TEXT = np.ones((1, 3), np.float32)


def example(colours: str, label: str = "fence") -> Example:
    """Pictures of these colours, by first letter, one a tick."""
    names = {"r": "red", "g": "green", "b": "blue"}
    shown = [encode_jpeg(picture(names[one])) for one in colours]
    return Example(label, 4, tuple(ExamplePicture(tick, 1.0, jpeg) for tick, jpeg in enumerate(shown)))


class Source:
    """Where examples come from; counts what it was asked for."""

    def __init__(self, *examples: Example) -> None:
        self.examples = {(one.label, one.id): one for one in examples}
        self.asked: list[set[tuple[str, str]]] = []

    def __call__(self, keys: Collection[tuple[str, str]]) -> Iterable[Example]:
        """The ones that are there."""
        self.asked.append(set(keys))
        return [self.examples[key] for key in keys if key in self.examples]


def encoder(source: Source, folder: Path | None = None, origin: str = "a") -> ExampleEncoder:
    """An encoder for windows of four frames."""
    return ExampleEncoder(
        ColourEngine(), WindowForm(4, 4), lambda jpeg, _: decode_jpeg(jpeg), ExampleSource(source, folder), [origin]
    )


def taught(shown: Iterable[Example], others: Iterable[Example] = (), label: str = "fence") -> Label:
    """A label that names these."""
    return Label(label, label, examples=tuple(x.id for x in shown), counterexamples=tuple(x.id for x in others))


def test_every_example_is_a_prototype_and_what_it_is_not_stands_apart() -> None:
    """Two shown, one rejected: windows of the bundle's length, of unit length at every place."""
    red, green, blue = example("rrrr"), example("gg"), example("bbbbbbbb")
    found = encoder(Source(red, green, blue)).prototypes([(taught([red, green], [blue]), TEXT)])["fence"]
    assert found.positives.shape == (2, 4, 3) and found.negatives.shape == (1, 4, 3)
    assert [int(one.argmax()) for one in (found.positives[0, 0], found.positives[1, 3], found.negatives[0, 2])] == [
        0,
        1,
        2,
    ]


def test_what_is_known_is_not_encoded_again(tmp_path: Path) -> None:
    """Not for the next set, and not by the next process; another engine makes its own."""
    red, green = example("rrrr"), example("gggg")
    source = Source(red, green)
    first = encoder(source, tmp_path)
    label, other = taught([red]), taught([green], label="jump")
    first.prototypes([(label, TEXT)])
    both = first.prototypes([(label, TEXT), (other, TEXT)])
    assert source.asked == [{("fence", red.id)}, {("jump", green.id)}] and set(both) == {"fence"}
    source.examples["jump", green.id] = example("gggg", "jump")
    assert set(first.prototypes([(label, TEXT), (other, TEXT)])) == {"fence", "jump"}

    second = encoder(Source(), tmp_path)
    again = second.prototypes([(label, TEXT), (other, TEXT)])
    assert again["fence"].positives.tobytes() == both["fence"].positives.tobytes()
    stranger = Source()
    assert encoder(stranger, tmp_path, "another engine").prototypes([(label, TEXT)]) == {}
    assert stranger.asked == [{("fence", red.id)}]


def test_what_no_label_names_is_erased(tmp_path: Path) -> None:
    """Whichever engine made it."""
    red, green = example("rrrr"), example("gggg")
    for origin in ("a", "b"):
        encoder(Source(red, green), tmp_path, origin).prototypes([(taught([red, green]), TEXT)])
    assert len(list(tmp_path.glob("*/*.npy"))) == 4
    one = encoder(Source(red), tmp_path)
    one.prototypes([(taught([red]), TEXT)])
    assert {file.stem for file in tmp_path.glob("*/*")} == {red.id}
    one.prototypes([(Label("run", "run"), TEXT)])
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.parametrize(
    "spoil", [lambda file: file.write_bytes(b"half"), lambda file: np.save(file, np.full((4, 3), np.nan))]
)
def test_a_damaged_file_is_none(spoil: object, tmp_path: Path) -> None:
    """It costs time, nothing else."""
    red = example("rrrr")
    expected = encoder(Source(red), tmp_path).prototypes([(taught([red]), TEXT)])["fence"].positives
    spoil(next(tmp_path.glob("*/*.npy")))  # type: ignore[operator]
    source = Source(red)
    assert (
        encoder(source, tmp_path).prototypes([(taught([red]), TEXT)])["fence"].positives.tobytes() == expected.tobytes()
    )
    assert source.asked


def test_a_label_of_which_an_example_is_missing_or_no_picture_is_left_out() -> None:
    """The others are well."""
    red = example("rrrr")
    broken = Example("jump", 4, (ExamplePicture(0, 1.0, b"no jpeg"), ExamplePicture(3, 1.0, b"neither")))
    source = Source(red, broken)
    gone, bad, well = taught([example("gggg")], label="run"), taught([broken], label="jump"), taught([red])
    assert set(encoder(source).prototypes([(one, TEXT) for one in (gone, bad, well)])) == {"fence"}
