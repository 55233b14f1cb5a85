"""An int8 variant judged by windows and events, with the serving side's real replay."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import onnx
import pytest

from engines.bundle.files import add_variant, load, seal
from engines.bundle.manifest import Calibration, Variant, variant_file
from engines.testing import COLOURS, tiny_bundle
from trainer.calibration.judge import difference, judge, top1
from trainer.calibration.streams import Material, Recorded
from trainer.calibration.temperature import Windows
from trainer.errors import CalibrationError


def test_events_are_compared_by_camera_label_and_start() -> None:
    """Within a second they are one; one without a counterpart counts, on either side.

    float32   a:wave 10.0        a:fall 20.0   b:wave 10.0
    int8      a:wave 10.9        a:fall 22.0                   -> fall twice, and b's wave
    """
    float32 = [("a", "wave", 10.0), ("a", "fall", 20.0), ("b", "wave", 10.0)]
    assert difference(float32, [("a", "wave", 10.9), ("a", "fall", 22.0)]) == 3 / 5
    assert difference(float32, float32) == 0 == difference([], [])
    assert difference(float32, []) == 1


def test_an_event_has_one_counterpart() -> None:
    """Two events close together are not both answered by one."""
    assert difference([("a", "wave", 10.0), ("a", "wave", 10.5)], [("a", "wave", 10.4)]) == 1 / 3


def test_top_1_counts_the_windows_of_actions() -> None:
    """Three windows end while an action happens, two of them are right; where nothing happens nobody is wrong."""
    none = np.zeros((5, 2, 1), np.float32)
    camera = Windows(np.arange(5.0), none, none, {0: [(1.0, 2.0)], 1: [(3.5, 4.0)]})
    probabilities = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    assert top1([(camera, probabilities)]) == pytest.approx(2 / 3)
    assert top1([]) == 1


def _film(path: Path) -> None:
    """Grey, five seconds of red, grey."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=8)
        stream.width, stream.height = 32, 32
        for colour in ["grey"] * 32 + ["red"] * 40 + ["grey"] * 48:
            picture = np.full((32, 32, 3), COLOURS[colour], np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """One camera that measures, red from 4 s to 9 s."""
    _film(tmp_path / "door.mp4")
    camera = {"id": "door", "seconds": 15.0, "actions": [{"label": "red", "start": 4.0, "end": 9.0}]}
    recorded = Recorded({"door": tmp_path / "door.mp4"}, {"schema": 1, "cameras": [camera]})  # type: ignore[list-item]
    none = Recorded({}, {"schema": 1, "cameras": []})
    return Material(none, none, recorded, none, labels=("red",), sources={})


def _with_variant(path: Path, *, blind: bool) -> Path:
    """A bundle whose int8 files compute what float32 does, or see nothing at all."""
    tiny_bundle(path)
    for name in ("image.onnx", "head.onnx"):
        shutil.copy(path / name, path / variant_file(name))
    if blind:
        network = onnx.load(path / "image.int8.onnx")
        weights = next(entry for entry in network.graph.initializer if entry.name == "projection")
        weights.CopyFrom(onnx.numpy_helper.from_array(0 * onnx.numpy_helper.to_array(weights), "projection"))
        onnx.save(network, path / "image.int8.onnx")
    add_variant(path, Variant(calibration=Calibration(sha256="0" * 64, frames=200), worst=0, mean=0), version="0.2.0")
    return path


def test_a_variant_that_holds_is_entered_into_a_new_version(material: Material, tmp_path: Path) -> None:
    """Figures of windows and events stand in the manifest; the networks and the space stay. Other thresholds end it."""
    source = _with_variant(tmp_path / "same", blind=False)
    judge(source, tmp_path / "out", material, version="0.3.0")
    made, before = load(tmp_path / "out").manifest, load(source).manifest
    assert made.variants["int8"].judged and not before.variants["int8"].judged
    assert (made.variants["int8"].top1, made.variants["int8"].events, made.version) == (0, 0, "0.3.0")
    assert made.files == before.files and made.space == before.space
    assert not seal(tmp_path / "out", events=made.events).variants["int8"].judged


def test_a_variant_that_sees_nothing_is_refused(material: Material, tmp_path: Path) -> None:
    """Its probe of the golden answers is not asked here: the replay refuses it, or its events are missed."""
    source = _with_variant(tmp_path / "blind", blind=True)
    with pytest.raises(Exception, match=r"off the golden probe|of its events differ"):
        judge(source, tmp_path / "out", material)
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_a_variant_is_told_how_to_get_one(material: Material, tmp_path: Path) -> None:
    """One line, before anything is replayed."""
    with pytest.raises(CalibrationError, match=r"has no int8 variant to judge; make one with `actionwire-engines"):
        judge(tiny_bundle(tmp_path / "plain"), tmp_path / "out", material)
