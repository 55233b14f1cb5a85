"""`make gpu`, as far as a machine without a GPU can tell: what it plans, what it says, and its stopwatch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_speed import peak, per_second
from gpu_workers import one_worker, workers
from pycuda_wheel import NoToolkit, plan, toolkit

from engines.bundle.files import load
from engines.bundle.store import demo_path
from pipeline.local.broker_node import BrokerNode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cuda(tmp_path: Path) -> Path:
    """A folder that looks like a CUDA toolkit."""
    for name in ("bin/nvcc", "include/cuda.h", "lib64/stubs/libcuda.so"):
        (tmp_path / "cuda" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cuda" / name).touch(mode=0o755)
    return tmp_path / "cuda"


def test_a_toolkit_is_found_by_its_variable_or_its_compiler(cuda: Path, tmp_path: Path) -> None:
    """And only where the headers are too."""
    assert toolkit({"CUDA_HOME": str(cuda), "PATH": ""}) == cuda
    assert toolkit({"PATH": str(cuda / "bin")}) == cuda
    (cuda / "include" / "cuda.h").unlink()
    if not Path("/usr/local/cuda/bin/nvcc").exists():
        with pytest.raises(NoToolkit, match="no CUDA toolkit with nvcc and headers"):
            toolkit({"CUDA_HOME": str(cuda), "PATH": str(cuda / "bin")})


def test_pycuda_is_configured_before_it_is_built(cuda: Path, tmp_path: Path) -> None:
    """Fetched, unpacked, configured without cuRAND, linked against the stub, installed from the wheel alone."""
    commands = plan(cuda, "python", "pycuda==2026.1", tmp_path)
    steps = [" ".join(command.arguments) for command in commands]
    assert "pip download --no-deps --no-binary pycuda" in steps[0] and steps[0].endswith("pycuda==2026.1")
    assert f"configure.py --no-cuda-enable-curand --cuda-root={cuda}" in steps[2]
    assert "pip wheel --no-deps" in steps[3] and str(cuda / "lib64" / "stubs") in commands[3].environment["LDFLAGS"]
    assert "--no-index" in steps[4]
    assert [command.folder for command in commands[2:4]] == [tmp_path / "pycuda"] * 2


def test_a_source_that_lies_there_is_not_fetched(cuda: Path, tmp_path: Path) -> None:
    """As on a machine that reaches no registry."""
    source = tmp_path / "pycuda-2026.1"
    source.mkdir()
    commands = plan(cuda, "python", str(source), tmp_path)
    assert len(commands) == 3 and commands[0].folder == source


def test_the_stopwatch_measures_on_any_device() -> None:
    """A product on the CPU, small, and the rate of something that takes no time."""
    assert peak("cpu", size=64, seconds=0.01) > 0
    assert peak("cpu", size=64, kind="int8", seconds=0.01) > 0
    assert per_second(lambda: None, "cpu", 0.01) > 1000


def test_without_a_gpu_every_step_says_what_is_missing(tmp_path: Path) -> None:
    """Exit status 2, and the file has the reasons."""
    command = [
        sys.executable,
        "benchmarks/gpu",
        "--only",
        "facts,tensorrt,workers",
        "--json",
        str(tmp_path / "gpu.json"),
    ]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "."}, capture_output=True, text=True, timeout=120)
    found = json.loads((tmp_path / "gpu.json").read_text())
    if done.returncode == 0:
        pytest.skip("there is a GPU")
    assert done.returncode == 2, done.stderr
    assert "cuda-bindings" in found["facts"]["skipped"] and "pycuda" in found["facts"]["skipped"]
    assert "let the backend be openvino" in found["tensorrt"]["skipped"]
    assert "let the backend be openvino" in found["workers"]["skipped"]
    assert done.stdout.count("not run: ") == 3


@pytest.mark.kafka
def test_workers_are_held_against_their_engine_on_any_device(broker_node: BrokerNode) -> None:
    """Two processes under one supervisor, on a CPU and small: each has a port, and both count."""
    bundle, small = load(demo_path()), {"seconds": 0.3, "cameras": 64, "start_frames": 6000}
    found = workers(bundle, "openvino", "fp32", broker_node, processes=(2,), **small)
    assert found["engine_frames_per_second"] > 0
    alone = one_worker(bundle, "openvino", "fp32", seconds=0.3, cameras=4)["in_process"]
    assert alone["of_engine"] > 0 and 0 < alone["idle_share"] < 1
    assert found["processes_2"]["frames_per_second"] > 0 and found["processes_2"]["of_engine"] > 0
