"""Files of weights, as people have them, to one plain state dict.

Read are safetensors, state dicts and training checkpoints of torch, and TorchScript archives such as those in which
OpenAI released CLIP. Prefixes that wrappers put before names are taken off. Nothing is unpickled that could run code.
"""

from __future__ import annotations

import argparse
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import PretrainedError

if TYPE_CHECKING:
    from torch import Tensor

FACTS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's files hold beside the weights."""

_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel, and of torch.compile
_STATES = ("state_dict", "model_state_dict", "model")
"""Under which names training checkpoints hold the weights, in the order in which they are looked for."""


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, without the prefixes of wrappers; `FACTS` are among them where the file has them.

    Raises PretrainedError that says what the file is, and what to do with it.
    """
    found = without_prefixes(plain(path, load(path)))
    if not found:
        raise PretrainedError(f"{path} holds no tensors; give a file of weights")
    return found


def load(path: Path) -> Any:
    """What a file holds: tensors by name, or what else was saved with them. Raises PretrainedError."""
    if path.suffix in (".npz", ".npy"):
        raise PretrainedError(
            f"{path.name} is a big_vision file; convert it with open_clip first, or give a .safetensors"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return _archive(path) if _is_archive(path) else _pickle(path)
    except PretrainedError:
        raise
    except Exception as error:  # torch, pickle and safetensors each have their own
        raise PretrainedError(
            f"{path} cannot be read as weights ({first_line(error)}); give a state dict saved by open_clip or torch "
            "(.pt, .bin, .pth), a TorchScript archive or a .safetensors file"
        ) from error


def plain(path: Path, loaded: Any) -> dict[str, Tensor]:
    """The state dict in what a file holds. Raises PretrainedError where there is none."""
    import torch

    state = loaded
    if isinstance(loaded, Mapping):
        state = next((loaded[name] for name in _STATES if isinstance(loaded.get(name), Mapping)), loaded)
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor | int) for value in state.values()):
        held = ", ".join(map(str, list(state)[:5])) if isinstance(state, Mapping) else type(state).__name__
        raise PretrainedError(
            f"{path} is a checkpoint of another kind: it holds no plain state dict of tensors ({held}); save the state "
            "dict of the model alone"
        )
    return {str(name): torch.as_tensor(value) for name, value in state.items()}


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the model itself gave them."""
    found = dict(state)
    while prefix := next((one for one in _PREFIXES if any(name.startswith(one) for name in found)), None):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def first_mismatch(model: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """The first tensor of a file that differs from a model's in name or shape, in words."""
    for name, tensor in model.items():
        if name not in found:
            return f"{name} is missing"
        if found[name].shape != tensor.shape:
            return f"{name} is {list(found[name].shape)} in the file and {list(tensor.shape)} in the model"
    unknown = [name for name in found if name not in model]
    return f"{unknown[0]} is not part of the model" if unknown else None


def _is_archive(path: Path) -> bool:
    """TorchScript archives hold code and constants beside the data; what torch.save writes does not."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _archive(path: Path) -> Mapping[str, Tensor]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have other archives; these exist
        state: Mapping[str, Tensor] = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    return state


def _pickle(path: Path) -> Any:
    import numpy as np
    import torch

    # Numbers of numpy and parsed arguments: training scripts save them beside the weights, and they run no code.
    scalar: Any = np.float64(0).__reduce__()[0]
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]  # of numpy 1 and 2
    kinds = [type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "bool")]
    with torch.serialization.safe_globals([*names, np.dtype, np.ndarray, argparse.Namespace, *kinds]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            if "weights_only" not in str(error) and "WeightsUnpickler" not in str(error):
                raise
            if not _is_pickle(path):
                raise
            raise PretrainedError(_unsafe(path, error)) from error


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        begin = file.read(2)
    return begin[:1] == b"\x80" or begin == b"PK"


def _unsafe(path: Path, error: BaseException) -> str:
    named = next((word for word in str(error).split() if "." in word and word.rstrip(".").count(".") >= 1), "")
    what = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line), named)
    return (
        f"{path} is a pickle with Python objects that could run code when it is read ({what[:160]}); if you trust it, "
        f"keep its weights alone: python -c \"import torch; found = torch.load('{path}', weights_only=False, "
        f"map_location='cpu'); torch.save(found.get('state_dict', found), '{path.with_suffix('')}-weights.pt')\""
    )


def first_line(error: BaseException) -> str:
    """The first line of an error, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
