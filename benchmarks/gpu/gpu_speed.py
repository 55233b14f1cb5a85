"""What a GPU can do, and what a CLIP tower gets of it: products of matrices, and torch in bf16 with and without graphs.

Everything takes the device as an argument, so that a test runs it on a CPU, small.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

TOWERS = {
    "ViT-B/32": ("vit_base_patch32_clip_224", 8.82),
    "ViT-B/16": ("vit_base_patch16_clip_224", 35.13),
    "ViT-L/14": ("vit_large_patch14_clip_224", 162.0),
}
"""Name -> of timm, and GFLOP for one picture of 224 x 224."""
BATCHES = (1, 8, 64, 256)
ROUNDS = 5


def peak(device: str, size: int = 8192, kind: str = "bf16", seconds: float = 0.5) -> float:
    """Return TFLOP/s of a square product in bf16 or int8, by the median of several rounds."""
    import torch

    if kind == "int8":
        left = torch.randint(-100, 100, (size, size), dtype=torch.int8, device=device)
        run: Callable[[], Any] = lambda: torch._int_mm(left, left)  # noqa: E731
    else:
        wide = torch.randn(size, size, dtype=torch.bfloat16, device=device)
        run = lambda: wide @ wide  # noqa: E731
    return 2 * size**3 * per_second(run, device, seconds) / 1e12


def tower(device: str, name: str, batch: int, *, graph: bool, seconds: float = 0.5) -> float:
    """Return pictures per second of a tower with random weights in bf16; graph: captured once and launched."""
    import timm
    import torch

    with torch.inference_mode():
        model = timm.create_model(TOWERS[name][0], pretrained=False, num_classes=512).to(device, torch.bfloat16).eval()
        pictures = torch.randint(0, 256, (batch, 3, 224, 224), dtype=torch.uint8, device=device)

        def encode() -> Any:
            return torch.nn.functional.normalize(model(pictures.to(torch.bfloat16) / 127.5 - 1).float(), dim=-1)

        return batch * per_second(captured(encode) if graph else encode, device, seconds)


def captured(work: Callable[[], Any]) -> Callable[[], Any]:
    """Return what replays the work of one call, captured into a CUDA graph."""
    import torch

    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what libraries allocate at their first runs cannot be captured
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def per_second(run: Callable[[], Any], device: str, seconds: float) -> float:
    """Return how often `run` is done in a second: the median of rounds, each long enough to hide the clock."""
    import torch

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    run()
    wait()
    rates = []
    for _ in range(ROUNDS):
        began, done = time.perf_counter(), 0
        while not done or time.perf_counter() - began < seconds / ROUNDS:
            for _ in range(4):
                run()
            wait()
            done += 4
        rates.append(done / (time.perf_counter() - began))
    return median(rates)
