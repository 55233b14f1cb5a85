"""Zero-shot bundles of three families, opened by the engines and compared with open_clip itself."""

import json
import random
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import open_clip
import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import save_file
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from engines.backends import ort, ov
from engines.bundle.files import Bundle
from engines.bundle.files import load as load_bundle
from engines.preprocess import prepare
from engines.text.text_bank import TextEncoder
from trainer.errors import ExportError, ParityError, RecipeError
from trainer.export import onnx
from trainer.export.zero_shot import Plan, bundle, name_of
from trainer.models.text.backgrounds import DEFAULTS, ReferenceText, read

FOOTAGE = Path(__file__).parents[3] / "../shared/data"
TEXTS = ["a person falls down", "Two people SHAKE hands &amp; smile!", "", "naïve “quotes”  and   spaces", "word " * 90]
WIDTHS = {
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 128, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


def _config(patch: int, **more):
    return {"embed_dim": 64, **WIDTHS, "vision_cfg": {**WIDTHS["vision_cfg"], "patch_size": patch}, **more}


CONFIGS = {
    "zero-shot-test-B-32-quickgelu": _config(32, quick_gelu=True),
    "zero-shot-test-B-16": _config(16),
}
SIGLIP = {
    "embed_dim": 96,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "zero_shot_test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 64,
        "vocab_size": 300,
        "hf_tokenizer_name": "here",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 96,
        "heads": 2,
        "layers": 1,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}


@register_model
def zero_shot_test_vit(pretrained=False, **settings):
    """SigLIP's tower, a sixth of its depth: no class token, attention pooling."""
    known = {name: value for name, value in settings.items() if name in ("img_size", "global_pool", "num_classes")}
    size = {"img_size": 160, "patch_size": 16, "embed_dim": 96, "depth": 2, "num_heads": 2, "class_token": False}
    tower = VisionTransformer(**{**size, "global_pool": "map", **known})
    tower.pretrained_cfg = tower.default_cfg = {"input_size": (3, 160, 160), "num_classes": 0}
    return tower


class Family(NamedTuple):
    """A bundle and the open_clip model it was made from."""

    bundle: Bundle
    model: torch.nn.Module
    preprocess: object
    tokenizer: object


def _run(*arguments):
    app = typer.Typer()
    app.command()(bundle)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _made(folder: Path, model: str, *weights) -> Family:
    (folder / "texts.txt").write_text("# what happens anyway\nbackground: an empty street\nwalking\naction: a chat\n")
    result = _run("--model", model, *weights, "--out", folder / "out", "--labels", folder / "texts.txt", "--frames", 4)
    assert result.exit_code == 0, result.output
    assert "torch and ONNX agree" in result.stdout
    pretrained = weights[1] if weights else None
    built, preprocess = open_clip.create_model_from_pretrained(model, str(pretrained) if pretrained else None)
    return Family(load_bundle(folder / "out"), built.eval(), preprocess, open_clip.get_tokenizer(model))


def _clip(name: str, folder: Path) -> Family:
    (folder / f"{name}.json").write_text(json.dumps(CONFIGS[name]))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(1)
    torch.save(open_clip.create_model(name).state_dict(), folder / "weights.pt")
    return _made(folder, name, "--pretrained", folder / "weights.pt")


def _siglip(name: str, folder: Path) -> Family:
    source = folder / name
    source.mkdir()
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (source / "open_clip_config.json").write_text(json.dumps({"model_cfg": SIGLIP, "preprocess_cfg": preprocessing}))
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = {"special_tokens": ["<pad>", "</s>", "<unk>"], "unk_token": "<unk>"}
    words = [
        "a",
        "person",
        "falls",
        "down",
        "two",
        "people",
        "shake",
        "hands",
        "and",
        "smile",
        "naive",
        "quotes",
        "spaces",
        "word",
        "walks",
        "runs",
    ]
    lines = [" ".join(random.Random(seed).choices(words, k=8)) for seed in range(300)]
    tokenizer.train_from_iterator(lines, trainers.UnigramTrainer(vocab_size=300, show_progress=False, **special))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="</s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(source)
    torch.manual_seed(2)
    state = open_clip.create_model(f"local-dir:{source}", load_weights=False).state_dict()
    state["logit_scale"] = torch.tensor(117.3).log()
    save_file(
        {key: tensor.contiguous().clone() for key, tensor in state.items()}, source / "open_clip_model.safetensors"
    )
    return _made(folder, f"local-dir:{source}")


@pytest.fixture(scope="module", params=[*CONFIGS, "zero-shot-test-siglip"])
def family(request, tmp_path_factory, exporter):
    """Each family once: weights saved in its release format, bundled by the command."""
    folder = tmp_path_factory.mktemp("family")
    return (_siglip if "siglip" in request.param else _clip)(request.param, folder)


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _reference_images(family: Family, pictures) -> np.ndarray:
    with torch.no_grad():
        batch = torch.stack([family.preprocess(Image.fromarray(picture)) for picture in pictures])
        return family.model.encode_image(batch, normalize=True).numpy()


@pytest.mark.parametrize("backend", [ort, ov], ids=["onnxruntime", "openvino"])
def test_images_equal_open_clip(family, backend):
    """At the network's size, engine and open_clip (its own preprocessing and tower) give one embedding."""
    form = family.bundle.manifest.input
    pictures = np.random.default_rng(3).integers(0, 256, (3, form.height, form.width, 3), np.uint8)
    engine = backend.open(family.bundle)
    items, _ = engine.encode(pictures)
    np.testing.assert_allclose(_unit(items), _reference_images(family, pictures), atol=1e-4)
    head, pooled = engine.embed(np.stack([items[[0, 1, 2, 0]], items[[2, 2, 2, 2]]]))
    np.testing.assert_allclose(pooled[0], _unit(items[[0, 1, 2, 0]].mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(head, pooled, atol=1e-6)
    engine.close()


def test_texts_equal_open_clip(family):
    """tokenizer.json and text.onnx together give what open_clip's tokenizer and text tower give, not normalised."""
    tokenizer = Tokenizer.from_str(family.bundle.read("tokenizer.json").decode())
    tokens = np.array([encoding.ids for encoding in tokenizer.encode_batch(TEXTS)], np.int64)
    expected = family.tokenizer(TEXTS)
    np.testing.assert_array_equal(tokens, expected.numpy())
    with torch.no_grad():
        embeddings = family.model.encode_text(expected, normalize=False).numpy()
    network = ort.open_network(family.bundle, "text.onnx")
    np.testing.assert_allclose(network.run(tokens)[0], embeddings, atol=1e-4 * np.abs(embeddings).max())
    network.close()


def test_manifest_tells_what_the_weights_need(family):
    """Preprocessing, scale, bias and function are those of the loaded model; nothing is calibrated."""
    manifest = family.bundle.manifest
    cfg = family.model.visual.preprocess_cfg
    assert (manifest.input.mean, manifest.input.std) == (tuple(cfg["mean"]), tuple(cfg["std"]))
    assert manifest.input.crop == {"shortest": "centre", "squash": "squash"}[cfg["resize_mode"]]
    sigmoid = family.model.logit_bias is not None
    assert manifest.score.function == ("sigmoid" if sigmoid else "softmax")
    assert manifest.score.logit_scale == pytest.approx(float(family.model.logit_scale.detach().exp()))
    assert manifest.score.logit_bias == (-10 if sigmoid else None)
    assert (manifest.window.frames, manifest.window.rate, manifest.head.architecture) == (4, 4, "meanp")
    assert manifest.sealed
    assert not manifest.events.calibrated


def test_references_and_probe(family):
    """Backgrounds have one embedding under all templates, actions one each; the text probe is within tolerance."""
    references = family.bundle.references()
    assert references.texts == ("an empty street", "walking", "a chat")
    assert references.kinds == ("background", "action", "action")
    spread = np.abs(references.embeddings - references.embeddings[:, :1]).max(axis=(1, 2))
    assert spread[0] == 0
    assert (spread[1:] > 1e-4).all()
    np.testing.assert_allclose(np.linalg.norm(references.embeddings, axis=-1), 1, atol=1e-5)
    encoder = TextEncoder(family.bundle)
    assert encoder.probe() < family.bundle.manifest.tolerance.text
    encoder.close()


def test_every_family_becomes_a_tensorrt_plan(family, build_plan):
    """Towers of CLIP and SigLIP, attention pooling among them, parse and build."""
    for name in ("image.onnx", "head.onnx", "text.onnx"):
        assert build_plan(family.bundle.path / name) > 1000


@pytest.mark.footage
@pytest.mark.skipif(not FOOTAGE.is_dir(), reason="no real footage beside the checkout (../shared/data)")
def test_real_frames_through_our_own_resize(family):
    """On real frames our resize (cv2) and open_clip's (PIL, antialiased) lead to nearly the same embedding."""
    clip = sorted((FOOTAGE / "singles").glob("*/*.mp4"))[0]
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    engine = ort.open(family.bundle)
    items, _ = engine.encode(prepare(frame, family.bundle.manifest.input)[None])
    engine.close()
    assert float(_unit(items)[0] @ _reference_images(family, [frame])[0]) > 0.99


def test_default_reference_texts():
    """About thirty texts, none twice, both kinds."""
    assert 25 <= len(DEFAULTS) <= 40
    assert len({entry.text for entry in DEFAULTS}) == len(DEFAULTS)
    assert {entry.kind for entry in DEFAULTS} == {"background", "action"}


def test_reference_file_faults(tmp_path):
    """An empty list, a text twice and a file that is not there are errors that name the file."""
    (tmp_path / "some.txt").write_text("background: rain\n\nshopping\n")
    assert read(tmp_path / "some.txt") == (ReferenceText("rain", "background"), ReferenceText("shopping", "action"))
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "twice.txt").write_text("walking\naction: walking\n")
    for name, message in (("empty.txt", "no reference text"), ("twice.txt", "twice"), ("none.txt", "cannot be read")):
        with pytest.raises(RecipeError, match=message):
            read(tmp_path / name)


def test_command_says_what_must_change(tmp_path):
    """Arguments that cannot work end with code 2 and one line on stderr, and leave nothing behind."""
    result = _run("--model", "ViT-B-32", "--pretrained", "openai", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "QuickGELU" in result.stderr
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    result = _run("--model", "ViT-B-32-quickgelu", "--pretrained", "openai", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "exists" in result.stderr


def test_a_version_that_no_manifest_takes_is_refused_at_once():
    """Not after the networks were exported."""
    with pytest.raises(ExportError, match=r"'1\.0 beta' is no version of a bundle"):
        Plan("x", version="1.0 beta")


def test_parity_is_checked(tmp_path, exporter):
    """A network that does not compute what torch computes is refused with the figure."""
    network = torch.nn.Linear(4, 4)
    given = torch.randn(3, 4, generator=torch.Generator().manual_seed(4))
    onnx.write_network(network, given, tmp_path / "part.onnx", given="windows", returned=("head",))
    expected = network(given).detach().numpy()
    assert onnx.check_parity(tmp_path / "part.onnx", given.numpy(), [expected]) < 1e-6
    with pytest.raises(ParityError, match=r"part\.onnx differs from torch"):
        onnx.check_parity(tmp_path / "part.onnx", given.numpy(), [expected + 0.01])


@pytest.mark.parametrize(
    ("model", "name"),
    [("ViT-B-32-quickgelu", "vit-b-32-quickgelu"), ("local-dir:/models/My CLIP/", "my-clip"), ("hf-hub:a/B_1", "b_1")],
)
def test_bundle_names(model, name):
    """A bundle is called after its model unless told otherwise."""
    assert name_of(model) == name
