"""Every head, and every visual prompt, reaches a camera: as a network, as a bundle, in a stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines.backends import open_engine
from engines.bundle import files as bundles
from engines.text.text_bank import TextEncoder
from pipeline.analysis import saliency
from pipeline.analysis.label_set import LabelSet, collect
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.records.labels import Label
from pipeline.worker.model import load_model
from trainer.calibration.serving_commands import read_scores, replay
from trainer.errors import RecipeError
from trainer.evaluation.protocols import label_bank
from trainer.export.onnx import check_parity, write_network
from trainer.export.trained import export
from trainer.models.heads import Concat, Conv1D, Experts, Head, Lstm, MeanP, Transf, TransfCls
from trainer.models.heads.experts import merged
from trainer.models.heads.saliency import salient_cosines
from trainer.models.text.words import word_embeddings
from trainer.models.video_text import windows_of
from trainer.recipe import Recipe
from trainer.training import checkpoint, loop
from trainer.training.clips import CLIPS

VITA: dict[str, Any] = {"prompt": {"kind": "vita", "prompts": 3}, "head": {"architecture": "meanp"},
                        "templates": {"own": ["{}."]}}  # fmt: skip
HEADS = (MeanP(), Conv1D(), Concat(), Lstm(), Transf(layers=1), TransfCls(layers=1), Experts(layers=1))


@pytest.mark.parametrize("part", HEADS, ids=lambda part: part.architecture)
def test_every_head_is_exported(part: Head, exporter: None, tmp_path: Path) -> None:
    """ONNX computes what torch does, for one window and for several; experts as one."""
    torch.manual_seed(0)
    head = merged(part.build(64, 4)).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        windows = torch.randn(3, 4, 64)
        expected = head(windows).numpy()
    write_network(head, windows, tmp_path / "head.onnx", given="windows", returned=("head",))
    assert check_parity(tmp_path / "head.onnx", windows.numpy(), [expected]) < 1e-4


@pytest.fixture
def prompted(published: nn.Module, published_name: str, listed: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe over two clips that starts with a small published vision transformer."""
    torch.save(published.state_dict(), tmp_path / "weights.pt")

    def make(**model: Any) -> Recipe:
        return Recipe.model_validate(
            {
                "name": "prompted",
                "licence": "that of the footage",
                "start": {"kind": "clip", "name": published_name, "pretrained": str(tmp_path / "weights.pt")},
                "data": {"clips": str(listed)},
                "model": {"frames": 4, **model},
                "optimiser": {"rate": 1e-4, "warmup_steps": 1},
                "stages": [{"steps": 2, "chunks": 4, "ticks": 4}],
                "freeze": "V3" if model.get("prompt", {}).get("kind") == "vita" else "V4",
            }
        )

    return make


@pytest.mark.parametrize(
    ("model", "architecture"),
    [
        ({"prompt": {"kind": "joint"}, "head": {"architecture": "meanp"}}, "published-test-quickgelu+joint"),
        (
            {"prompt": {"kind": "shift"}, "head": {"architecture": "experts", "layers": 1}},
            "published-test-quickgelu+shift",
        ),
        (
            VITA | {"context": {"kind": "unified", "vectors": 4}},
            "published-test-quickgelu+vita",
        ),
    ],
    ids=["joint", "shift", "vita"],
)
def test_a_prompt_is_trained_exported_and_watched_through(
    model: dict[str, Any], architecture: str, prompted: Callable[..., Recipe], listed: Path, exporter: None,
    tmp_path: Path,
) -> None:  # fmt: skip
    """A clip bundle: probed on two backends, whose embeddings of a window are torch's; a recording is replayed."""
    loop.train(prompted(**model), CLIPS, tmp_path / "run")
    manifest, differences = export(tmp_path / "run", tmp_path / "draft", CLIPS.texts)
    assert (manifest.kind, manifest.encoder.architecture) == ("clip", architecture)
    assert differences.keys() == {"clip.onnx", "text.onnx"} and max(differences.values()) < 1e-4
    trained, _ = checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)
    frames = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    with torch.no_grad():
        given = torch.from_numpy(np.stack([frames[at : at + 4] for at in range(3)]))
        expected = trained.embed_windows(trained.window_items(given))[0].numpy()
    for backend in ("onnxruntime", "openvino"):
        engine = open_engine(bundles.load(tmp_path / "draft", allow_draft=True), backend, "CPU")
        try:
            items = np.concatenate([engine.encode(frame[None])[0] for frame in frames])  # as a camera brings them
            streamed = engine.embed(np.stack([items[at : at + 4] for at in range(3)]))[0]
        finally:
            engine.close()
        assert np.allclose(streamed, expected, atol=1e-4)
    replay(
        tmp_path / "draft", 4, ["gets brighter"], {"cam": listed / "up.mp4"}, tmp_path / "e.jsonl", tmp_path / "s.npz"
    )
    table = read_scores(tmp_path / "s.npz")
    assert len(table.cameras["cam"].ticks) >= 8 and np.isfinite(table.cameras["cam"].probabilities).all()


def test_a_causal_shift_is_served_frame_by_frame(
    prompted: Callable[..., Recipe], listed: Path, exporter: None, tmp_path: Path
) -> None:
    """A frame bundle with memory: each frame is encoded once, and windows in a stream are those of the whole stream.

    Probed on two backends; two cameras share every call; a recording is replayed.
    """
    recipe = prompted(prompt={"kind": "shift", "placement": "residual", "causal": True})
    loop.train(recipe, CLIPS, tmp_path / "run")
    manifest, differences = export(tmp_path / "run", tmp_path / "draft", CLIPS.texts)
    assert differences.keys() == {"image.onnx", "head.onnx", "text.onnx"} and max(differences.values()) < 1e-4
    trained, _ = checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)
    layers, fold = trained.clip.visual.layers, trained.clip.visual.width // 8  # type: ignore[operator]
    assert manifest.kind == "frame" and manifest.memory is not None and manifest.history == layers
    assert {shape[1] for shape in manifest.memory.shapes} == {fold} and len(manifest.memory.shapes) == layers
    streams = np.random.default_rng(0).integers(0, 256, (2, 9, 64, 64, 3), np.uint8)
    with torch.no_grad():
        items = trained.window_items(torch.from_numpy(streams))  # the whole stream at once
        expected = trained.embed_windows(windows_of(items, 4).flatten(0, 1))[0].numpy()
    for backend in ("onnxruntime", "openvino"):
        engine = open_engine(bundles.load(tmp_path / "draft", allow_draft=True), backend, "CPU")
        try:
            memory, found = None, []
            for pictures in streams.swapaxes(0, 1):
                item, memory = engine.encode(np.ascontiguousarray(pictures), memory)
                found.append(item)
            encoded = np.stack(found, axis=1)
            windows = np.stack([one[at : at + 4] for one in encoded for at in range(6)])
            streamed = engine.embed(windows)[0]
        finally:
            engine.close()
        assert np.allclose(encoded, items.numpy(), atol=1e-4)
        assert np.allclose(streamed, expected, atol=1e-4)
    replay(
        tmp_path / "draft", 4, ["gets brighter"], {"cam": listed / "up.mp4"}, tmp_path / "e.jsonl", tmp_path / "s.npz"
    )
    table = read_scores(tmp_path / "s.npz")
    assert len(table.cameras["cam"].ticks) >= 8 and np.isfinite(table.cameras["cam"].probabilities).all()


def test_frames_are_pooled_by_words_as_in_training(
    prompted: Callable[..., Recipe], listed: Path, exporter: None, tmp_path: Path
) -> None:
    """Saliency: what a worker compares labels with is what torch does, and a replay tells the same cosines."""
    labels = ["gets brighter", "something else"]
    loop.train(prompted(), CLIPS, tmp_path / "run")
    manifest, differences = export(tmp_path / "run", tmp_path / "draft", CLIPS.texts, rule="saliency")
    assert manifest.score.rule == "saliency" and differences["words.onnx"] < 1e-4
    trained, _ = checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)
    windows = np.random.default_rng(0).integers(0, 256, (3, 4, 64, 64, 3), np.uint8)
    bank = label_bank(trained, labels).sum(dim=0)
    with torch.no_grad():
        items = trained.window_items(torch.from_numpy(windows))
        expected = salient_cosines(items, *word_embeddings(trained, labels), bank).numpy()
    settings = Settings(worker=WorkerSettings(bundle=str(tmp_path / "draft"), backend="onnxruntime"))
    model = load_model(settings, allow_draft=True)
    try:
        embedded = model.embed(LabelSet(collect([Label(id=text[:4], text=text) for text in labels]), 0))
        encoded = np.stack([model.engine.encode(window)[0] for window in windows])
        assert embedded.salient is not None
        found = saliency.cosines(embedded.salient, encoded)[0][..., 0]
    finally:
        model.close()
    order = [labels.index(one.text) for one in embedded.labels]
    assert np.allclose(found, expected[:, order], atol=1e-4)
    replay(tmp_path / "draft", 4, labels, {"cam": listed / "up.mp4"}, tmp_path / "e.jsonl", tmp_path / "s.npz")
    table = read_scores(tmp_path / "s.npz").cameras["cam"]
    assert table.label_cosines.shape[1:] == (2, 1) and np.isfinite(table.probabilities).all()


def test_names_of_training_travel_with_their_own_context(
    prompted: Callable[..., Recipe], exporter: None, tmp_path: Path
) -> None:
    """Vita-CLIP's context by class: the bundle says of a trained name what training made of it, of others the plain.

    A second run goes on with all that was learned.
    """
    recipe = prompted(**VITA, context={"kind": "class", "vectors": 4})
    loop.train(recipe, CLIPS, tmp_path / "run")
    manifest, _ = export(tmp_path / "run", tmp_path / "draft", CLIPS.texts)
    assert manifest.text.learned and manifest.text.context_length == 77 - 4
    trained, _ = checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)
    texts = ["gets brighter", "something else"]
    with torch.no_grad():
        expected = trained.encode_text(trained.tokens([f"{text}." for text in texts])).numpy()
    encoder = TextEncoder(bundles.load(tmp_path / "draft", allow_draft=True))
    try:
        found = encoder.embed_labels(["Gets  brighter".lower(), texts[1]])[:, 0]
        plain = encoder.embed(["gets brighter."])[0]
    finally:
        encoder.close()
    assert np.allclose(found, expected, atol=1e-4) and not np.allclose(found[0], plain, atol=1e-3)
    tree = recipe.model_dump(mode="json") | {"start": {"kind": "run", "checkpoint": str(tmp_path / "run")}}
    tree["optimiser"] |= {"rate": 1e-30, "average": 0}
    loop.train(Recipe.model_validate(tree), CLIPS, tmp_path / "second")
    after, _ = checkpoint.load_model(tmp_path / "second" / checkpoint.NAME)
    for name, tensor in trained.state_dict().items():
        assert torch.allclose(after.state_dict()[name].double(), tensor.double(), rtol=0, atol=1e-20), name


def test_a_run_with_a_prompt_goes_on_with_its_embedding_of_time(
    prompted: Callable[..., Recipe], tmp_path: Path
) -> None:
    """A second training starts where the first ended; another length of the window is refused."""
    recipe = prompted(prompt={"kind": "joint"}, head={"architecture": "meanp"})
    loop.train(recipe, CLIPS, tmp_path / "first")
    before, _ = checkpoint.load_model(tmp_path / "first" / checkpoint.NAME)
    tree = recipe.model_dump(mode="json") | {"start": {"kind": "run", "checkpoint": str(tmp_path / "first")}}
    tree["optimiser"] |= {"text_ratio": 0, "rate": 1e-30, "average": 0}
    tree["open_stages"] = 1
    loop.train(Recipe.model_validate(tree), CLIPS, tmp_path / "second")
    after, _ = checkpoint.load_model(tmp_path / "second" / checkpoint.NAME)
    for name, tensor in before.state_dict().items():  # a weight of exactly 0 moves by the rate
        assert torch.allclose(after.state_dict()[name].double(), tensor.double(), rtol=0, atol=1e-20), name
    tree["model"]["frames"], tree["stages"][0]["ticks"] = 6, 6
    with pytest.raises(RecipeError, match=r"clip.visual.time_embedding is \[4, 64\] there and \[6, 64\] in the model"):
        loop.train(Recipe.model_validate(tree), CLIPS, tmp_path / "third")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"freeze": "V2"}, "no item can be computed once; freeze V1 or V4"),
        ({"stages": [{"steps": 2, "chunks": 4, "ticks": 1}]}, "set ticks of every stage to model.frames, 4"),
        ({"data": {}}, "rendered scenes are trained by streams; set data.clips"),
    ],
)
def test_a_recipe_that_a_prompt_cannot_follow_is_refused(
    change: dict[str, Any], reason: str, prompted: Callable[..., Recipe]
) -> None:
    """A frozen image tower, single frames, rendered streams."""
    tree = prompted(prompt={"kind": "shift"}).model_dump(mode="json")
    with pytest.raises(ValueError, match=reason):
        Recipe.model_validate(tree | change)
