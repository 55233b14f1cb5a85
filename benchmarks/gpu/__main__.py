"""Everything that needs a GPU, in one run: `make gpu [JSON=FILE] [ONLY=facts,speed] [PYCUDA=FOLDER]`.

    facts       what the device is, through every seam that loads
    pycuda      built from its source where a CUDA toolkit is
    contract    the tests with the mark `gpu`
    tensorrt    the demo bundle built, proven, probed and timed
    speed       products of matrices; ViT-B/32, B/16 and L/14 in torch, with and without graphs, as parts of the product
    workers     a worker without Kafka, then one, two and four processes over a real one, as parts of the bare engine

A step that cannot run says why and costs the others nothing. Exit status: 0 done, 1 a step failed, 2 there is no GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gpu_speed import BATCHES, TOWERS, peak, tower
from gpu_workers import one_worker
from gpu_workers import workers as run_workers
from pycuda_wheel import NoToolkit, plan, toolkit

from engines.backends.tensorrt.cuda import SEAMS
from engines.errors import EngineError

PYCUDA = "pycuda==2026.1"


class Skipped(Exception):
    """A step that has nothing to run on; the text says what is missing."""


def facts(wanted: argparse.Namespace) -> dict[str, Any]:
    """The device, as each seam sees it."""
    found: dict[str, Any] = {}
    for name, module in SEAMS.items():
        try:
            cuda = importlib.import_module(module).open(0)
            with cuda.entered():
                found[name] = dataclasses.asdict(cuda.facts()) | {"graphs": cuda.graphs}
            cuda.close()
        except (ImportError, EngineError) as error:
            found[name] = {"missing": " ".join(str(error).split())}
    if all("missing" in one for one in found.values()):
        raise Skipped("; ".join(f"{name}: {one['missing']}" for name, one in found.items()))
    return found


def pycuda(wanted: argparse.Namespace) -> dict[str, Any]:
    """Build and install pycuda, and import its driver module in a process of its own."""
    try:
        root = toolkit()
    except NoToolkit as error:
        raise Skipped(str(error)) from error
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for command in plan(root, sys.executable, wanted.pycuda, Path(folder)):
            subprocess.run(command.arguments, cwd=command.folder, env={**os.environ, **command.environment}, check=True)
    subprocess.run([sys.executable, "-c", "import pycuda.driver as d; d.init(); print(d.Device(0).name())"], check=True)
    return {"toolkit": str(root), "seconds": round(time.perf_counter() - began, 1)}


def contract(wanted: argparse.Namespace) -> dict[str, Any]:
    """The tests that need a GPU."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"], capture_output=True, text=True)
    last = (done.stdout.strip().splitlines() or [done.stderr])[-1]
    if done.returncode:
        raise RuntimeError(f"{last}\n{done.stdout[-4000:]}")
    return {"tests": last}


def tensorrt(wanted: argparse.Namespace) -> dict[str, Any]:
    """The demo bundle, as `actionwire-engines build` and a worker use it."""
    from engines.backends import open_engine
    from engines.backends import tensorrt as backend
    from engines.build.choose import windows_per_second
    from engines.build.prepare import prepare
    from engines.bundle.files import load
    from engines.bundle.store import demo_path

    if (reason := backend.unavailable()) is not None:
        raise Skipped(reason)
    bundle, found = load(demo_path()), {}
    for precision in ("fp32", "bf16"):
        made = prepare(bundle, "tensorrt", precision=precision).data()  # type: ignore[arg-type]
        engine = open_engine(bundle, "tensorrt", precision=precision)  # type: ignore[arg-type]
        found[precision] = made | {"windows_per_second": windows_per_second(engine, 2.0)}
        engine.close()
    return found


def speed(wanted: argparse.Namespace) -> dict[str, Any]:
    """Fractions of a product of matrices that was measured in the same run."""
    import torch

    if not torch.cuda.is_available():
        raise Skipped("torch finds no CUDA device")
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    for kind in ("bf16", "int8"):
        found[f"gemm_{kind}_tflops"] = round(peak("cuda", kind=kind), 1)
    for name, (_, gflop) in TOWERS.items():
        for batch in BATCHES:
            for graph in (False, True):
                rate = tower("cuda", name, batch, graph=graph)
                part = rate * gflop / 1000 / found["gemm_bf16_tflops"]
                found[f"torch {name} b{batch}{' graph' if graph else ''}"] = {
                    "pictures_per_second": round(rate, 1),
                    "of_gemm_bf16": round(part, 3),
                }
    return found


def workers(wanted: argparse.Namespace) -> dict[str, Any]:
    """The demo bundle and a ViT-B/32, whole workers of them against the engine."""
    from engines.backends import tensorrt as backend
    from engines.bundle.files import load
    from engines.bundle.store import demo_path
    from pipeline.errors import ActionwireError
    from pipeline.local.broker_node import BrokerNode

    if (reason := backend.unavailable()) is not None:
        raise Skipped(reason)
    bundles = {"demo": load(demo_path())}
    if importlib.util.find_spec("open_clip"):
        from models import tower

        bundles["vit_b32"] = tower("vit_b32")
    found: dict[str, Any] = {name: one_worker(bundle, "tensorrt", "bf16") for name, bundle in bundles.items()}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        try:
            node = stack.enter_context(BrokerNode(Path(folder) / "broker"))
        except (ActionwireError, OSError) as error:  # a lent machine may reach no repository
            return found | {"no_broker": str(error)}
        for name, bundle in bundles.items():
            found[name] |= run_workers(bundle, "tensorrt", "bf16", node)
    return found


STEPS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "facts": facts,
    "pycuda": pycuda,
    "contract": contract,
    "tensorrt": tensorrt,
    "speed": speed,
    "workers": workers,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the steps, print a line for each, and write the file after each."""
    parser = argparse.ArgumentParser(prog="make gpu", description="Everything that needs a GPU, in one run.")
    parser.add_argument("--json", type=Path, help="write what was found to this file; else benchmarks/DEVICE.json")
    parser.add_argument("--only", default="", help=f"steps, separated by commas: {', '.join(STEPS)}")
    parser.add_argument("--pycuda", default=PYCUDA, help="folder of pycuda's source, where pip fetches nothing")
    wanted = parser.parse_args(arguments)
    names = [name for name in wanted.only.split(",") if name] or list(STEPS)
    if unknown := [name for name in names if name not in STEPS]:
        parser.error(f"there is no step {', '.join(unknown)}; choose from {', '.join(STEPS)}")
    report: dict[str, Any] = {}
    for name in names:
        began = time.perf_counter()
        try:
            report[name] = STEPS[name](wanted) | {"took_seconds": round(time.perf_counter() - began, 1)}
            print(f"{name:<10} {json.dumps(report[name])}", flush=True)
        except Skipped as error:
            report[name] = {"skipped": str(error)}
            print(f"{name:<10} not run: {error}", flush=True)
        except Exception as error:  # one step must not cost what the others find
            report[name] = {"failed": str(error)}
            print(f"{name:<10} FAILED: {error}", flush=True)
        if file := wanted.json or _file(report):
            file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if all("skipped" in one for one in report.values()):
        return 2
    return 1 if any("failed" in one for one in report.values()) else 0


def _file(report: dict[str, Any]) -> Path | None:
    """Return the file of the device, once its name is known."""
    seen = [one["name"] for one in report.get("facts", {}).values() if isinstance(one, dict) and "name" in one]
    return Path(__file__).parents[1] / f"{seen[0].lower().replace(' ', '-')}.json" if seen else None


if __name__ == "__main__":
    sys.exit(main())
