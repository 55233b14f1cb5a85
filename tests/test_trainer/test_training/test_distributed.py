"""Two processes train what one process trains with the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from trainer.errors import RecipeError
from trainer.models.text.texts import texts_of
from trainer.models.video_text import build
from trainer.recipe import Recipe, load
from trainer.training import checkpoint, distributed, loop
from trainer.training.clips import CLIPS
from trainer.training.distributed import check, gathered, mine

STEPS = 3
STARTED = """
import sys, open_clip
open_clip.add_model_config(sys.argv.pop(1))
from trainer.cli import main
main()
"""


def command(folder: Path, recipe: Path, out: str) -> list[str]:
    """The trainer's own command, in a process that knows the small published tower."""
    return [sys.executable, "-c", STARTED, str(folder), "train", str(recipe), "--out", str(recipe.parent / out)]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_two_processes_learn_what_one_learns(
    published: nn.Module, published_name: str, listed: Path, tmp_path: Path
) -> None:
    """After three steps of a vision transformer, a text tower and a head weights agree to 1e-5; one of them writes."""
    torch.save(published.state_dict(), tmp_path / "weights.pt")
    config = Path(open_clip_config(published_name))
    tree: dict[str, Any] = {
        "name": "shared", "licence": "that of the footage",
        "start": {"kind": "clip", "name": published_name, "pretrained": str(tmp_path / "weights.pt")},
        "data": {"clips": str(listed)},
        "model": {"frames": 2, "head": {"architecture": "transf", "layers": 1}},
        "optimiser": {"rate": 1e-4, "warmup_steps": 1},
        "stages": [{"steps": STEPS, "chunks": 4, "ticks": 2}],
    }  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree))
    plain = {**os.environ, "OMP_NUM_THREADS": "1"}
    loop.train(load(recipe), CLIPS, tmp_path / "one")
    port = free_port()
    both = [
        subprocess.Popen(
            command(config.parent, recipe, "two"),
            env={**plain, "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(port)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=600)[1].decode()[-2000:] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    one, two = (load_file(tmp_path / run / checkpoint.NAME) for run in ("one", "two"))
    moved = 0
    for name, tensor in one.items():
        if name.startswith("model."):
            assert torch.allclose(two[name], tensor, atol=1e-5), name
            start = published.state_dict().get(name.removeprefix("model.clip."))
            moved += start is not None and not torch.allclose(tensor, start, atol=2e-5)
    assert moved > 20
    logs = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 2


def open_clip_config(name: str) -> str:
    """The file from which open_clip knows a model."""
    from open_clip.factory import _MODEL_CONFIG_PATHS

    return next(str(path / f"{name}.json") for path in _MODEL_CONFIG_PATHS if (path / f"{name}.json").is_file())


def test_each_process_takes_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone all rows, and gathering changes nothing; of three processes the second takes the middle third."""
    rows = torch.arange(6.0)
    assert gathered(rows) is rows and list(mine(6)) == list(range(6))
    assert np.array_equal(distributed.gathered_array(np.arange(3), rows.device), np.arange(3))
    monkeypatch.setattr(distributed, "world", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert list(mine(6)) == [2, 3]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, r"batch norm, which would see a part of the batch in each of 4 processes; freeze the image tower"),
        ({"stages": [{"steps": 1, "chunks": 6, "ticks": 4}]}, "6 chunks cannot be shared by 4 processes"),
        (
            {"data": {}, "licence": None},
            "rendered scenes are trained in one process, and there are 4; start it without torchrun",
        ),
    ],
)
def test_what_several_processes_would_compute_otherwise_is_refused(
    change: dict[str, Any], reason: str, clip_recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch norms that learn, batches that cannot be shared, sources that make whole batches."""
    tree = clip_recipe(Path("x")).model_dump(mode="json") | {"stages": [{"steps": 1, "chunks": 8, "ticks": 4}]}
    recipe = Recipe.model_validate(tree | change)
    model = build(recipe.model, recipe.start.build(texts_of(()).words))
    check(model, recipe)
    monkeypatch.setattr(distributed, "world", lambda: 4)
    with pytest.raises(RecipeError, match=reason):
        check(model, recipe)
