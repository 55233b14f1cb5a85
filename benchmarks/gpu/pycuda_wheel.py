"""How pycuda is built where a CUDA toolkit is: the commands, planned before any of them runs.

It has no wheels. Its configuration wants cuRAND's headers, which a bare toolkit lacks and we do not use; and where
there is no driver the linker needs the toolkit's stub of libcuda.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class NoToolkit(Exception):
    """There is nothing to build with; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the plan."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    """Variables beside those that are there."""


def toolkit(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the CUDA toolkit: CUDA_HOME, the folder of nvcc on the PATH, or the usual one. Raises NoToolkit."""
    nvcc = shutil.which("nvcc", path=environment.get("PATH", ""))
    places = [environment.get("CUDA_HOME"), nvcc and str(Path(nvcc).resolve().parents[1]), "/usr/local/cuda"]
    for place in filter(None, places):
        if (Path(place) / "bin" / "nvcc").is_file() and (Path(place) / "include" / "cuda.h").is_file():
            return Path(place)
    raise NoToolkit("no CUDA toolkit with nvcc and headers is on this machine; install one, or use cuda-bindings")


def plan(root: Path, python: str, source: str, folder: Path) -> tuple[Command, ...]:
    """Return the commands that leave a wheel in `folder`/wheels and install it.

    root: of the toolkit. source: the unpacked source package, or `pycuda==VERSION` for pip to fetch.
    """
    stubs = root / "lib64" / "stubs"
    environment = {
        "CUDA_ROOT": str(root),
        "LDFLAGS": f"-L{stubs} -L{root / 'lib64'}",
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    wheels = folder / "wheels"
    pip = (python, "-m", "pip")
    commands = []
    unpacked = Path(source)
    if not unpacked.is_dir():
        fetch = (*pip, "download", "--no-deps", "--no-binary", "pycuda", "--dest", str(folder), source)
        unpack = (python, "-c", _UNPACK, str(folder))
        commands = [Command(fetch, folder, {}), Command(unpack, folder, {})]
        unpacked = folder / "pycuda"
    configure = (python, "configure.py", "--no-cuda-enable-curand", f"--cuda-root={root}")
    build = (*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(unpacked))
    install = (*pip, "install", "--no-index", "--find-links", str(wheels), "--no-deps", "pycuda")
    return (
        *commands,
        Command(configure, unpacked, environment),
        Command(build, unpacked, environment),
        Command(install, folder, {}),
    )


_UNPACK = (
    "import pathlib, sys, tarfile; folder = pathlib.Path(sys.argv[1]); (archive,) = folder.glob('pycuda-*.tar.gz'); "
    "tarfile.open(archive).extractall(folder, filter='data'); "
    "next(path for path in folder.glob('pycuda-*') if path.is_dir()).rename(folder / 'pycuda')"
)
