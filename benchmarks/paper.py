"""Our way against the paper's: ActionCLIP runs every window whole, in eager torch (arXiv 2109.08472)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from models import TOWERS, int8, served, tower

from engines.backends.network import Precision, thread_count
from engines.bench.rounds import Call, measure, ratio
from pipeline.analysis.label_set import LabelSet
from pipeline.bench.many_labels import many_labels
from pipeline.bench.streams import Streams

FRAMES = 8
LABELS = 10
BATCH = 8


def paper(*, quick: bool) -> dict[str, Any]:
    """Return windows per second of a ViT-B/32 over the paper's, each window of 8 frames and one at every frame.

    Ours decodes JPEGs, encodes each frame once and decides events, without a broker (`pipeline.bench.streams`); the
    paper's encodes the 8 frames of each window, given as tensors, and averages them. `worker_over_paper`: ours in int8;
    `_fast_matmul`: theirs with bfloat16 products (`torch.set_float32_matmul_precision("medium")`); `_fp32`: both in
    float32. Keys in `_cpu` are by CPU time. A quick run has no ViT and leaves this out.
    """
    if quick:
        return {}
    bundle = int8(tower("vit_b32"))
    labels = many_labels(bundle, LABELS)
    calls = {"paper": Call(_window("highest"), 1), "fast": Call(_window("medium"), 1)}
    models = []
    precisions: tuple[Precision, ...] = ("int8", "fp32")
    for precision in precisions:
        models.append(served(bundle, precision=precision))
        streams = Streams(models[-1], models[-1].embed(LabelSet(labels, 0)), 1, batch=BATCH)
        streams.open()
        streams.warm_up()
        calls[precision] = Call(streams.run, BATCH)
    rates = measure(calls, rounds=9, seconds=1.5)
    for model in models:
        model.close()
    found: dict[str, Any] = {}
    for clock, suffix in (("wall", ""), ("cpu", "_cpu")):
        of = {name: getattr(rate, clock) for name, rate in rates.items()}
        found |= {
            f"worker_over_paper{suffix}": ratio(of["int8"], of["paper"]).data(),
            f"worker_over_paper_fast_matmul{suffix}": ratio(of["int8"], of["fast"]).data(),
            f"worker_over_paper_fp32{suffix}": ratio(of["fp32"], of["paper"]).data(),
        }
    return found


def _window(precision: str) -> Callable[[], object]:
    """One window through the tower that the bundle was made from, eager, on as many threads as the engine has."""
    import open_clip
    import torch

    torch.set_num_threads(thread_count(None))
    torch.manual_seed(0)
    visual = open_clip.create_model(TOWERS["vit_b32"][0]).visual.eval()
    frames = torch.from_numpy(np.random.default_rng(0).standard_normal((FRAMES, 3, 224, 224)).astype(np.float32))

    def run() -> object:
        torch.set_float32_matmul_precision(precision)
        with torch.inference_mode():
            return visual(frames).mean(dim=0)

    return run
