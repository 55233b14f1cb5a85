"""The house keeps its order: rooms, floors, sizes, and a page that names every module."""

from __future__ import annotations

import ast
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "engines", "trainer")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
CONTENT = [path for path in MODULES if path.name != "__init__.py"]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines(path: Path) -> int:
    """How long a module is."""
    return len((ROOT / path).read_text().splitlines())


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a module."""
    found = ast.walk(ast.parse((ROOT / path).read_text()))
    return (node for node in found if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines of a function from its `def` on, its docstring left out."""
    docstring = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    spoken = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - spoken


def parameters(function: Function) -> int:
    """How many arguments a caller may give."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return sum(one is not None and one.arg not in ("self", "cls") for one in named)


def test_no_file_holds_two_versions_of_itself() -> None:
    """A merge that was committed before it was done leaves its marks, which most kinds of file allow."""
    kinds = {".md", ".py", ".toml", ".yaml", ".yml", ".json", ".sh", ".txt", ""}
    places = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    files = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
    marks = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)
    assert [
        str(path) for path in files if path.is_file() and path.suffix in kinds and marks.search(path.read_bytes())
    ] == []


def test_a_module_fits_into_a_head() -> None:
    """No module has more than 400 lines, and half of them have at most 150."""
    sizes = {str(path): lines(path) for path in CONTENT}

    assert {path: size for path, size in sizes.items() if size > 400} == {}
    assert statistics.median(sizes.values()) <= 150


def test_a_function_fits_on_a_screen() -> None:
    """No function has more than 60 lines, docstring apart."""
    long = {
        f"{path}:{one.name}": body_lines(one) for path in MODULES for one in functions(path) if body_lines(one) > 60
    }

    assert long == {}


def test_a_signature_of_the_worker_can_be_held() -> None:
    """No public function or constructor of the worker takes more than seven arguments."""
    wide = {
        f"{path}:{one.name}": parameters(one)
        for path in MODULES
        if path.is_relative_to("pipeline/worker")
        for one in functions(path)
        if (one.name == "__init__" or not one.name.startswith("_")) and parameters(one) > 7
    }

    assert wide == {}


@pytest.mark.parametrize(("folder", "most"), [("pipeline", 9), ("pipeline/worker", 18), ("trainer", 5)])
def test_a_room_can_be_looked_over(folder: str, most: int) -> None:
    """What lies in a room besides its folders can be taken in at a glance."""
    assert len(list((ROOT / folder).glob("*.py"))) <= most


def test_no_module_imports_itself_by_way_of_others() -> None:
    """There is no circle of imports among modules; one for an annotation alone imports nothing."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while ends := [module for module, found in imports.items() if not found & imports.keys()]:
        for module in ends:  # what imports nothing that is left cannot be part of a circle
            del imports[module]

    assert imports == {}


def test_an_upward_import_is_noticed(tmp_path: Path) -> None:
    """A record that knew the worker would break the contract of the floors."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("bundles", "__pycache__"))
    (tmp_path / "engines/bundles").mkdir()
    (tmp_path / "engines/bundles/__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "pipeline/records/wire.py").open("a") as file:
        file.write("\nimport pipeline.worker.worker\n")

    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert done.returncode == 1
    assert "pipeline.records.wire -> pipeline.worker.worker" in done.stdout


def tables() -> Iterator[str]:
    """The rows of the tables of ARCHITECTURE.md."""
    return (line for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines() if line.startswith("|"))


def paths_of(row: str) -> Iterator[Path]:
    """The files and folders that a row names; a name without a folder lies in the folder named before it."""
    folder = Path()
    for word in re.findall(r"`([a-z_0-9/.]+?(?:\.py|/))`", row):
        path = Path(word)
        if path.parts[0] in PACKAGES:
            folder = path if word.endswith("/") else path.parent
            yield path
        else:
            yield folder / path


def test_every_module_stands_on_the_map() -> None:
    """A table of ARCHITECTURE.md names every module, by itself or by the folder it lies in."""
    named = set(chain.from_iterable(map(paths_of, tables())))

    assert [str(path) for path in CONTENT if not {path, path.parent} & named] == []


def test_the_map_shows_only_what_is_there() -> None:
    """Every path in a table of ARCHITECTURE.md exists."""
    named = set(chain.from_iterable(map(paths_of, tables())))

    assert named
    assert [str(path) for path in sorted(named) if not (ROOT / path).exists()] == []
