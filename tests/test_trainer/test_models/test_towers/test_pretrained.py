"""Weights in the file formats they are released in, and the slips that must not pass."""

import json

import open_clip
import pytest
import torch
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import save_file

from trainer.errors import PretrainedError
from trainer.models.towers.pretrained import input_form, load

NAME = "pretrained-test-quickgelu"
CONFIG = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
SIGMOID = {**CONFIG, "init_logit_bias": -10, "custom_text": True}


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory):
    """Small configurations under names of their own, known to open_clip while this module runs."""
    folder = tmp_path_factory.mktemp("configs")
    larger = {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "image_size": 96}}
    for name, config in ((NAME, CONFIG), (f"{NAME}-larger", larger), (f"{NAME}-sigmoid", SIGMOID)):
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def original():
    """A model with seeded random weights."""
    torch.manual_seed(5)
    return open_clip.create_model(NAME).eval()


def _plain(state, path):
    torch.save(state, path)


def _training(state, path):
    torch.save(
        {"epoch": 3, "name": "run", "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path
    )


def _safetensors(state, path):
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path)


@pytest.mark.parametrize(
    ("file", "write"),
    [
        ("released.pt", _plain),
        ("open_clip_pytorch_model.bin", _plain),
        ("epoch_3.pt", _training),
        ("open_clip_model.safetensors", _safetensors),
    ],
)
def test_reads_every_file_format(tmp_path, original, file, write):
    """A state dict, a training checkpoint and safetensors all give the weights that were saved."""
    write(original.state_dict(), tmp_path / file)
    loaded = load(NAME, str(tmp_path / file))
    assert all(torch.equal(loaded.clip.state_dict()[name], tensor) for name, tensor in original.state_dict().items())
    assert not loaded.clip.training
    assert (loaded.form.height, loaded.form.crop, loaded.form.resize) == (64, "centre", "bicubic")
    assert (loaded.source, loaded.context, loaded.logit_bias) == (file, 77, None)


def test_reads_a_folder_with_its_own_preprocessing(tmp_path, original):
    """`local-dir:` takes configuration, preprocessing and weights from the folder."""
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": preprocessing}))
    with pytest.raises(PretrainedError, match="holds no weights"):
        load(f"local-dir:{tmp_path}")
    _safetensors(original.state_dict(), tmp_path / "open_clip_model.safetensors")
    form = load(f"local-dir:{tmp_path}").form
    assert (form.mean, form.std, form.resize, form.crop) == ((0.5,) * 3, (0.5,) * 3, "bilinear", "squash")
    with pytest.raises(PretrainedError, match="brings its own weights"):
        load(f"local-dir:{tmp_path}", "openai")


def test_scale_is_clamped_for_a_softmax_only(tmp_path, original):
    """CLIP's scale is at most 100; a sigmoid's stays as trained, since its bias was trained with it."""
    large = torch.tensor(117.0).log()
    torch.save({**original.state_dict(), "logit_scale": large}, tmp_path / "softmax.pt")
    assert load(NAME, str(tmp_path / "softmax.pt")).logit_scale == 100
    torch.manual_seed(6)
    state = open_clip.create_model(f"{NAME}-sigmoid").state_dict()
    torch.save({**state, "logit_scale": large, "logit_bias": torch.tensor(-12.5)}, tmp_path / "sigmoid.pt")
    loaded = load(f"{NAME}-sigmoid", str(tmp_path / "sigmoid.pt"))
    assert loaded.logit_scale == pytest.approx(117)
    assert loaded.logit_bias == -12.5


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        (NAME.replace("quick", "qick"), "x.pt", f"no model .* near it: .*{NAME}"),
        ("ViT-B-32", "opnai", "neither a file nor a tag of ViT-B-32; near it: openai"),
        ("ViT-B-32", None, "needs weights"),
        ("ViT-B-32", "openai", "trained with QuickGELU, but ViT-B-32 is built with GELU.*--model ViT-B-32-quickgelu"),
        ("ViT-B-16", "dfn2b", "--model ViT-B-16-quickgelu"),
        ("local-dir:/nowhere", None, "open_clip_config.json cannot be read"),
    ],
)
def test_says_what_is_wrong_before_anything_is_fetched(model, weights, message):
    """An unknown name, a missing file and a wrong activation are errors that name the remedy."""
    with pytest.raises(PretrainedError, match=message):
        load(model, weights)


def test_a_released_file_is_known_by_its_name(tmp_path):
    """OpenAI's file under its own name is refused for a model with the other activation, without reading it."""
    (tmp_path / "ViT-B-32.pt").write_bytes(b"")
    with pytest.raises(PretrainedError, match=r"ViT-B-32\.pt were trained with QuickGELU"):
        load("ViT-B-32", str(tmp_path / "ViT-B-32.pt"))


def test_a_file_whose_preprocessing_is_open_asks_for_it(tmp_path):
    """Where a model's tags disagree about preprocessing, a file alone is not enough, nor is an unknown tag."""
    (tmp_path / "mine.pt").write_bytes(b"")
    with pytest.raises(PretrainedError, match="add --like laion400m_e31, --like laion2b_s32b_b82k"):
        load("ViT-L-14", str(tmp_path / "mine.pt"))
    with pytest.raises(PretrainedError, match="no tag 'laion2b' to be like"):
        load("ViT-L-14", str(tmp_path / "mine.pt"), like="laion2b")


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (f"{NAME}-larger", {}, r"visual.positional_embedding is \[5, 64\] in the file and \[10, 64\] in the model"),
        (f"{NAME}-sigmoid", {}, "logit_bias is missing"),
        (NAME, {"visual.proj": torch.zeros(64, 16)}, r"visual.proj is \[64, 16\] in the file and \[64, 32\]"),
        (NAME, {"visual.proj": None}, "visual.proj is missing"),
        (NAME, {"extra.weight": torch.zeros(1)}, "extra.weight is not part of the model"),
    ],
)
def test_names_the_first_tensor_that_does_not_fit(tmp_path, original, model, change, message):
    """Weights of another architecture are refused by the first tensor that differs, never resized to fit."""
    state = {name: tensor for name, tensor in {**original.state_dict(), **change}.items() if tensor is not None}
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(PretrainedError, match=message):
        load(model, str(tmp_path / "other.pt"))


def test_a_damaged_file_is_named(tmp_path):
    """Something that is no weights file is an error with its path, not a traceback of pickle."""
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    (tmp_path / "broken.pt").write_bytes(b"not weights")
    for name in ("broken.safetensors", "broken.pt"):
        with pytest.raises(PretrainedError, match=f"{name} cannot be read as weights"):
            load(NAME, str(tmp_path / name))


def test_preprocessing_of_the_released_families():
    """SigLIP squashes with mean and deviation of one half; padding to a square has no place in a bundle."""
    siglip = {"size": 224, **get_pretrained_cfg("ViT-B-16-SigLIP", "webli")}
    form = input_form(siglip)
    assert (form.mean, form.std, form.resize, form.crop) == ((0.5,) * 3, (0.5,) * 3, "bicubic", "squash")
    with pytest.raises(PretrainedError, match="longest"):
        input_form({**siglip, "resize_mode": "longest"})


@pytest.mark.parametrize("tower", ["vision_cfg", "text_cfg"])
def test_a_model_that_no_machine_holds_is_refused_before_its_weights_are_read(tower, tmp_path):
    """With what it needs and what there is; nothing is allocated to find out."""
    huge = {"layers": 400, "width": 32768, "heads": 512, "head_width": 64}
    known = {key: value for key, value in huge.items() if key != ("heads" if tower == "vision_cfg" else "head_width")}
    (tmp_path / f"huge-{tower}.json").write_text(json.dumps({**CONFIG, tower: {**CONFIG[tower], **known}}))
    open_clip.add_model_config(tmp_path)
    (tmp_path / "weights.pt").write_bytes(b"are never read")
    with pytest.raises(PretrainedError, match=r"weights, which need at least .* GiB of memory, and this machine has"):
        load(f"huge-{tower}", str(tmp_path / "weights.pt"))
