"""How long a fresh process takes until an engine has answered, part by part."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import Any

from models import bundles

_PROCESS = """
import json, sys, time
began = time.perf_counter()
parts = {}
def part(name):
    global began
    now = time.perf_counter()
    parts[name] = now - began
    began = now
from pathlib import Path
import numpy
from engines.backends import open_engine, ov
from engines.bundle.files import load
part("import")
bundle = load(Path(sys.argv[1]))
part("read_and_hash")
engine = open_engine(bundle, "openvino")
part("compile_and_probe")
engine.encode(bundle.golden().images[:1])
part("first_frame")
print(json.dumps(parts))
"""


def start(*, quick: bool) -> dict[str, Any]:
    """Return `cold_start_s_<model>`: seconds from the first import to the first item, with filled caches."""
    found = {}
    for name, bundle in bundles(quick).items():
        runs = [_start(str(bundle.path)) for _ in range(3 if quick else 5)][1:]  # the first one fills the caches
        parts = {part: round(median(run[part] for run in runs), 3) for part in runs[0]}
        found[f"cold_start_s_{name}"] = {"total": round(sum(parts.values()), 3), **parts}
    return found


def _start(path: str) -> dict[str, float]:
    shown = subprocess.run([sys.executable, "-c", _PROCESS, path], check=True, capture_output=True, text=True)
    parts: dict[str, float] = json.loads(shown.stdout)
    return parts
