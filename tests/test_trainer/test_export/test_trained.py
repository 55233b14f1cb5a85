"""A run as a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from engines.backends import open_engine
from engines.bundle import files as bundles
from engines.text.text_bank import TextEncoder
from trainer.calibration.serving_commands import read_scores, replay
from trainer.demo.source import SCENES
from trainer.errors import CheckpointError, ExportError, ParityError
from trainer.export import onnx
from trainer.export.draft import new_directory
from trainer.export.onnx import check_parity, write_networks
from trainer.export.trained import checkpoint_of, export
from trainer.models.text import templates
from trainer.recipe import Recipe
from trainer.scenes.vocabulary import ACTIONS
from trainer.training import checkpoint, loop
from trainer.training.clips import CLIPS


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_backend_computes_what_torch_does(tiny_draft: Path, backend: str) -> None:
    """The draft loads, passes its golden probe, and its engine says what it holds."""
    engine = open_engine(bundles.load(tiny_draft, allow_draft=True), backend, "CPU")
    try:
        assert (engine.info.frames, engine.info.height, engine.info.width) == (4, 48, 64)
    finally:
        engine.close()


def test_a_trained_run_becomes_a_tensorrt_plan(tiny_draft: Path, build_plan: Callable[[Path], int]) -> None:
    """Each network of a draft parses and builds."""
    for name in ("image.onnx", "head.onnx", "text.onnx"):
        assert build_plan(tiny_draft / name) > 1000


def test_the_manifest_says_how_the_model_was_trained(tiny_draft: Path, tiny_recipe: Recipe, tiny_run: Path) -> None:
    """Window, rate, templates, scale and the averaged weights go into the draft; it is not calibrated."""
    manifest = bundles.load(tiny_draft, allow_draft=True).manifest
    model, _ = checkpoint.load_model(tiny_run / checkpoint.NAME)
    assert (manifest.window.frames, manifest.window.rate) == (4, 4)
    assert manifest.score.templates == templates.TEMPLATES
    assert manifest.score.logit_scale == pytest.approx(float(model.scale.detach()))
    assert not manifest.sealed and not manifest.events.calibrated
    assert manifest.producer.seed == tiny_recipe.seed


def test_trained_names_compete_and_backgrounds_take_no_template(tiny_draft: Path) -> None:
    """All sixteen names are references; a label leaves out its own name only; a background has one embedding."""
    opened = bundles.load(tiny_draft, allow_draft=True)
    references = opened.references()
    names = [text for text, kind in zip(references.texts, references.kinds, strict=True) if kind == "action"]
    assert names == [action.label for action in ACTIONS]
    for kind, embeddings in zip(references.kinds, references.embeddings, strict=True):
        same = np.allclose(embeddings, embeddings[0], atol=1e-6)
        assert same == (kind == "background")
    encoder = TextEncoder(opened)
    try:
        left_out = encoder.bank(names).left_out
    finally:
        encoder.close()
    assert np.array_equal(left_out[:, -len(names) :], np.eye(len(names), dtype=bool))


def test_a_tower_that_no_file_can_hold_is_refused_before_it_is_exported(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tower is named; nothing was written."""
    model, _ = checkpoint.load_model(tiny_run / checkpoint.NAME)
    golden = onnx.golden_probe(model, 48, 64, ("a person falls",))
    monkeypatch.setattr(onnx, "LARGEST_BYTES", 1000)
    with pytest.raises(ExportError, match=r"the image tower takes .* GiB, and one ONNX file holds less than 2 GiB"):
        write_networks(model, golden, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_large_network_is_one_file(exporter: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter would put the weights of more than 1.5 GiB beside the file, where a bundle has no place for them."""
    from torch.onnx._internal.exporter import _onnx_program

    monkeypatch.setattr(_onnx_program, "_LARGE_MODEL_THRESHOLD", 1)
    onnx.write_network(nn.Linear(64, 64), torch.ones(2, 64), tmp_path / "x.onnx", given="in", returned=("out",))
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]
    given = np.ones((3, 64), np.float32)
    assert onnxruntime.InferenceSession(str(tmp_path / "x.onnx")).run(None, {"in": given})[0].shape == (3, 64)


def test_the_batch_is_free(tiny_draft: Path) -> None:
    """Every network takes one element and many."""
    for name, shape, kind in (
        ("image.onnx", (48, 64, 3), np.uint8),
        ("head.onnx", (4, 64), np.float32),
        ("text.onnx", (24,), np.int64),
    ):
        session = onnxruntime.InferenceSession(str(tiny_draft / name), providers=["CPUExecutionProvider"])
        for count in (1, 5):
            given = np.ones((count, *shape), kind)
            assert all(len(output) == count for output in session.run(None, {session.get_inputs()[0].name: given}))


def test_a_network_that_computes_something_else_fails_the_export(tiny_draft: Path) -> None:
    """Parity is checked: answers that are a little off are refused, naming file, difference and limit."""
    golden = bundles.load(tiny_draft, allow_draft=True).golden()
    assert check_parity(tiny_draft / "head.onnx", golden.windows, [golden.head, golden.pooled]) < 1e-4
    wrong = golden.head.copy()
    wrong[0, 0] += 0.01
    with pytest.raises(ParityError, match=r"head\.onnx differs from torch"):
        check_parity(tiny_draft / "head.onnx", golden.windows, [wrong, golden.pooled])


def test_what_cannot_be_exported_is_named(tmp_path: Path, tiny_run: Path) -> None:
    """No checkpoint, and a place that is taken, are errors; nothing is left behind."""
    with pytest.raises(CheckpointError, match="train first"):
        checkpoint_of(tmp_path)
    with pytest.raises(ExportError, match="exists"):
        export(tiny_run, tmp_path, SCENES.texts)
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "new") as building:
        (building / "half").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("space", "head", "width"), [("text", "transf", 64), ("image", "change", 512)])
def test_a_tower_and_a_sentence_encoder_are_served(
    space: str, head: str, width: int,
    halves: dict[str, Any], listed: Path, clip_recipe: Callable[[Path], Recipe], exporter: None, tmp_path: Path,
) -> None:  # fmt: skip
    """Trained on items, exported with BERT and its projection inside, and replayed by the serving side.

    The bundle says whose weights it began with; its text network gives what BERT's own tokens give. The space is that
    of the texts, or that of the pictures: then items are features one by one, which the head can watch.
    """
    tree = clip_recipe(listed).model_dump(mode="json") | {"start": halves | {"space": space}, "freeze": "V3"}
    tree["optimiser"] |= {"orthogonal": 0}
    if head == "change":
        tree["model"] |= {"head": {"architecture": head, "spans": [1, 2]}}
        tree["loss"] |= {"ridge": 0.1}
    loop.train(Recipe.model_validate(tree), CLIPS, tmp_path / "run")
    manifest, differences = export(tmp_path / "run", tmp_path / "draft", CLIPS.texts)
    assert max(differences.values()) < 1e-4 and differences.keys() == {"image.onnx", "head.onnx", "text.onnx"}
    assert (manifest.encoder.architecture, manifest.encoder.pretrained) == ("resnet10t", "tower.pth + encoder")
    assert (manifest.space.dimensions, manifest.text.context_length, manifest.licence) == (
        width,
        12,
        "that of the footage",
    )
    model, _ = checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)
    encoder = TextEncoder(bundles.load(tmp_path / "draft", allow_draft=True))
    try:
        said = encoder.bank(["a person runs"]).embeddings
    finally:
        encoder.close()
    filled = [templates.fill(template, "a person runs") for template in templates.TEMPLATES]
    with torch.no_grad():
        assert np.allclose(said.reshape(-1, width), model.encode_text(model.tokens(filled)).numpy(), atol=1e-4)
    scores = tmp_path / "scores.npz"
    replay(tmp_path / "draft", 4, ["a person runs"], {"cam": listed / "up.mp4"}, tmp_path / "events.jsonl", scores)
    table = read_scores(scores)
    assert manifest.head.architecture == head and table.cameras["cam"].embeddings.shape[1] == width
    assert len(table.cameras["cam"].ticks) >= 8 and np.isfinite(table.cameras["cam"].probabilities).all()
