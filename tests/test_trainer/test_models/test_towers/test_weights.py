"""Files of weights in every form in which people have them."""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainer.errors import PretrainedError
from trainer.models.towers import weights
from trainer.models.towers.pretrained import load

FACTS = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
State = dict[str, Tensor]


class Holder(nn.Module):
    """A module whose state has exactly the given names, as a TorchScript archive needs them."""

    def __init__(self, state: State):
        super().__init__()
        for name, tensor in state.items():
            place: nn.Module = self
            *parents, last = name.split(".")
            for parent in parents:
                if not hasattr(place, parent):
                    place.add_module(parent, nn.Module())
                place = getattr(place, parent)
            place.register_buffer(last, tensor)

    def forward(self, given: Tensor) -> Tensor:
        """Nothing; an archive must have a method."""
        return given


def archive(state: State, path: Path) -> None:
    """What OpenAI released: a TorchScript archive in half precision with three numbers beside the weights."""
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Holder(half | {name: torch.tensor(of) for name, of in FACTS.items()})), path)


def plain(state: State, path: Path) -> None:
    """The state dict of such an archive, its numbers included."""
    torch.save(
        {name: tensor.half() for name, tensor in state.items()} | {n: torch.tensor(v) for n, v in FACTS.items()}, path
    )


def numbers(state: State, path: Path) -> None:
    """The same with the three as plain numbers."""
    torch.save({**state, **FACTS}, path)


def wrapped(state: State, path: Path) -> None:
    """Saved from DataParallel inside torch.compile."""
    torch.save({f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}, path)


def training(state: State, path: Path) -> None:
    """A training checkpoint with a number of numpy and the arguments of the script."""
    named = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "best": np.float64(0.7), "args": argparse.Namespace(lr=1.0), "state_dict": named}, path)


def safe(state: State, path: Path) -> None:
    """What open_clip writes today."""
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("archive.pt", archive),
        ("plain.pt", plain),
        ("numbers.pt", numbers),
        ("wrapped.bin", wrapped),
        ("training.pth", training),
        ("open_clip_model.safetensors", safe),
    ],
)
def test_the_same_weights_give_the_same_embeddings(
    name: str, write: Callable[[State, Path], None], published: nn.Module, published_name: str, tmp_path: Path
) -> None:
    """Pictures and texts, to 1e-6, whatever the file was: archive, plain, prefixed, with other objects, safetensors."""
    write(published.state_dict(), tmp_path / name)
    loaded = load(published_name, str(tmp_path / name)).clip
    generator = torch.Generator().manual_seed(0)
    pictures, texts = (
        torch.randn(3, 3, 64, 64, generator=generator),
        torch.randint(1, 49000, (3, 77), generator=generator),
    )
    with torch.no_grad():
        assert torch.allclose(loaded.encode_image(pictures), published.encode_image(pictures), atol=1e-6, rtol=0)
        assert torch.allclose(loaded.encode_text(texts), published.encode_text(texts), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("fact", "value"), [("input_resolution", 96), ("context_length", 32)])
def test_numbers_that_contradict_the_model_are_named(
    fact: str, value: int, published: nn.Module, published_name: str, tmp_path: Path
) -> None:
    """They would be the only sign that the file is of another model, were the shapes the same."""
    torch.save({**published.state_dict(), **FACTS, fact: value}, tmp_path / "other.pt")
    with pytest.raises(PretrainedError, match=rf"{fact} is {value} in the file and {FACTS[fact]} in the model"):
        load(published_name, str(tmp_path / "other.pt"))


def test_what_could_run_code_is_said_with_the_command_that_converts_it(
    published: nn.Module, published_name: str, tmp_path: Path
) -> None:
    """The command in the message is carried out; what it writes loads."""
    path = tmp_path / "own.pt"
    torch.save({"when": datetime.UTC, "state_dict": published.state_dict()}, path)
    with pytest.raises(PretrainedError, match="Python objects that could run code") as refused:
        load(published_name, str(path))
    command = str(refused.value).split('python -c "')[1].rsplit('"', 1)[0]
    assert "\n" not in str(refused.value)
    subprocess.run([sys.executable, "-c", command], check=True)
    assert load(published_name, str(tmp_path / "own-weights.pt")).source == "own-weights.pt"


def test_a_file_without_a_state_dict_is_named(tmp_path: Path) -> None:
    """A list of tensors, and a dict of other things."""
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    torch.save({"loss": torch.zeros(1), "note": "x"}, tmp_path / "notes.pt")
    for name in ("list.pt", "notes.pt"):
        with pytest.raises(PretrainedError, match=rf"{name} is a checkpoint of another kind"):
            weights.read(tmp_path / name)
