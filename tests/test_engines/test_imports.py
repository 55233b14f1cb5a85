"""What serving pulls in: no training framework, and no runtime before it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import engines
from engines.bundle.files import Bundle

ROOT = Path(engines.__file__).parent
SEAMS = ("cuda_bindings.py", "cuda_pycuda.py")
"""Modules that cannot be imported where their library is not installed."""
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.name not in SEAMS
)
FOREIGN = {"torch", "open_clip", "onnx", "trainer", "pipeline", "kafka", "av"}
GPU = {"cuda", "pycuda", "tensorrt", "tensorrt_rtx"}


def loaded_after(code: str) -> set[str]:
    """Names of the top-level modules that a fresh interpreter holds after running the code."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*(name.split('.')[0] for name in sys.modules))"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_no_module_of_engines_pulls_in_torch() -> None:
    """All of engines imports without torch, open_clip, onnx or either sibling; pictures alone need FFmpeg."""
    others = [name for name in MODULES if name != "engines.display"]
    assert not loaded_after(f"import {', '.join(others)}") & (FOREIGN | GPU)
    assert loaded_after("import engines.display") & (FOREIGN | GPU) == {"av"}


def test_running_a_bundle_pulls_in_no_torch(tiny: Bundle) -> None:
    """An engine and a text bank are made and used without torch or onnx."""
    loaded = loaded_after(
        "from pathlib import Path\n"
        "from engines.backends import open_engine\n"
        "from engines.bundle.files import load\n"
        "from engines.text.text_bank import TextEncoder\n"
        f"bundle = load(Path({str(tiny.path)!r}))\n"
        "engine = open_engine(bundle)\n"
        "engine.embed(engine.encode(bundle.golden().images[:8])[0][None])\n"
        "TextEncoder(bundle).bank(['red'])"
    )
    assert not loaded & FOREIGN and {"openvino", "onnxruntime", "tokenizers"} <= loaded


def test_runtimes_are_imported_when_asked_for() -> None:
    """Naming the backends, asking for help or listing a store loads no inference runtime."""
    assert not loaded_after("import engines.backends, engines.cli, engines.bundle.store") & {
        "openvino",
        "onnxruntime",
        "tokenizers",
        "cv2",
    }
