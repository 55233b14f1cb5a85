"""The models that are measured: the shipped demo, and open_clip towers with random weights, exported once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines.backends.network import Precision
from engines.build.quantise import LEAST_FRAMES, quantise
from engines.bundle.files import Bundle, load
from engines.bundle.store import demo_path
from engines.folders import cache_directory
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.examples.encoding import NO_EXAMPLES, ExampleSource
from pipeline.worker.model import Model

TOWERS = {"vit_b32": ("ViT-B-32", "laion2b_s34b_b79k"), "vit_b16": ("ViT-B-16", "laion2b_s34b_b88k")}
"""Name in the figures -> open_clip's name, and a tag whose preprocessing the weights share."""

PROMPTS = {
    "frame": {"kind": "none"},
    "causal_shift": {"kind": "shift", "placement": "residual", "causal": True},
    "shift": {"kind": "shift", "placement": "residual"},
    "joint": {"kind": "joint"},
}
"""Ways of a tower to look at the frames of a window: the first two encode each frame once, the others whole windows."""

_PROMPTED = """
import json, sys, torch
from pathlib import Path
from pydantic import TypeAdapter
from trainer.export.zero_shot import Plan, write_bundle
from trainer.models.towers.pretrained import load
from trainer.models.towers.prompts import Prompt
model, weights, like, out, prompt = sys.argv[1:]
torch.manual_seed(0)
plan = Plan("prompted", prompt=TypeAdapter(Prompt).validate_python(json.loads(prompt)))
write_bundle(load(model, weights, like=like), plan, Path(out))
"""
_WEIGHTS = (
    "import open_clip, sys, torch; torch.manual_seed(0);"
    "torch.save(open_clip.create_model(sys.argv[1]).state_dict(), sys.argv[2])"
)


def bundles(quick: bool, towers: Sequence[str] = tuple(TOWERS)) -> dict[str, Bundle]:
    """Return the bundles by the name that their figures carry: the demo's, and unless `quick` these towers."""
    return {"demo": load(demo_path())} | {name: tower(name) for name in ([] if quick else towers)}


def of_models(quick: bool, measure: Callable[[Bundle], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of the demo and, unless `quick`, of ViT-B/32, both int8: `<key>_<model>`.

    The ViT-B/32's are also there without a model's name.
    """
    found: dict[str, Any] = {}
    for name, bundle in bundles(quick, towers=["vit_b32"]).items():
        figures = measure(int8(bundle))
        found |= {f"{key}_{name}": value for key, value in figures.items()}
        if name == "vit_b32":
            found |= figures
    return found


def int8(bundle: Bundle) -> Bundle:
    """Return the bundle with an int8 variant: its own, or one for its speed alone, calibrated with noise and cached."""
    if "int8" in bundle.manifest.variants:
        return bundle
    path = cache_directory() / "bench" / f"{bundle.manifest.name}-int8-{bundle.manifest.id[:12]}"
    if not path.exists():
        form = bundle.manifest.input
        noise = np.random.default_rng(0).integers(0, 256, (LEAST_FRAMES, form.height, form.width, 3), np.uint8)
        quantise(bundle, noise, path, version="bench", limit=2.0)
    return load(path)


def tower(name: str) -> Bundle:
    """Return the bundle of a tower with random weights; it is exported once and kept in the cache."""
    model, like = TOWERS[name]

    def export(weights: Path, path: Path) -> list[str]:
        arguments = ["--model", model, "--pretrained", str(weights), "--like", like, "--out", str(path)]
        return ["-m", "trainer.cli", "bundle", *arguments]

    return _exported(name, model, export)


def prompted(name: str, prompt: str) -> Bundle:
    """Return the bundle of a tower with random weights under one of `PROMPTS`, exported once."""
    model, like = TOWERS[name]

    def export(weights: Path, path: Path) -> list[str]:
        return ["-c", _PROMPTED, model, str(weights), like, str(path), json.dumps(PROMPTS[prompt])]

    return tower(name) if prompt == "frame" else _exported(f"{name}-{prompt}", model, export)


def _exported(name: str, model: str, export: Callable[[Path, Path], Sequence[str]]) -> Bundle:
    path = cache_directory() / "bench" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "weights.pt"
            for arguments in (["-c", _WEIGHTS, model, str(weights)], export(weights, path)):
                subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return load(path)


def served(
    bundle: Bundle,
    cache: Path | None = None,
    precision: Precision = "int8",
    examples: ExampleSource = NO_EXAMPLES,
) -> Model:
    """Return the bundle as a worker loads it. cache: folder of embeddings of labels; None: the user's."""
    return Model(bundle, served_settings(bundle, precision), cache=cache or cache_directory(), examples=examples)


def served_settings(bundle: Bundle, precision: Precision = "int8") -> Settings:
    """Return the settings of a deployment that serves the bundle, and sheds nothing."""
    worker = {"bundle": str(bundle.path), "backend": "openvino", "precision": precision, "overload": "queue"}
    return Settings(rate=bundle.manifest.window.rate, worker=WorkerSettings.model_validate(worker))
