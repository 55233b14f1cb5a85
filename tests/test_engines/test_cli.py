from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engines.bundle.arrays import write_golden
from engines.bundle.files import Bundle, load, write_draft
from engines.bundle.store import default_store, resolve
from engines.cli import app, main
from engines.errors import BackendUnavailable
from engines.testing import tiny_bundle


def run(*arguments: object, code: int = 0) -> str:
    """Run a command in this process and return what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def data(*arguments: object) -> Any:
    """Run a command with --json and return what it printed on stdout."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_inspect_shows_what_a_user_asks(tiny: Bundle) -> None:
    """Name, window, calibration, sizes, and the probe on each backend."""
    shown = run("inspect", tiny.path)
    for part in (
        "tiny@0.1.0",
        "8 frames at 4 per second (2 s)",
        "calibrated",
        "references.npz",
        "every sha256 matches",
    ):
        assert part in shown
    assert shown.count("passes, off by") == 3


def test_inspect_prints_json(tiny: Bundle) -> None:
    """The JSON holds the manifest, the sizes and the probes."""
    shown = json.loads(run("inspect", tiny.path, "--json"))
    assert shown["verified"] and shown["sealed"] and shown["calibrated"]
    assert shown["manifest"]["id"] == tiny.manifest.id
    assert shown["bytes"] == sum(path.stat().st_size for path in tiny.path.iterdir())
    assert set(shown["probes"]) == {"openvino", "onnxruntime", "tensorrt", "text"}
    assert shown["references"] == {"action": 4, "background": 3}


def test_inspect_shows_a_draft(tmp_path: Path) -> None:
    """A draft can be looked at, and is called one."""
    assert "(not sealed)" in run("inspect", tiny_bundle(tmp_path / "draft", sealed=False))


def test_inspect_fails_where_a_probe_does(tiny: Bundle, tmp_path: Path) -> None:
    """A bundle whose answers differ is shown, with what fails, and the exit code says so."""
    path = Path(shutil.copytree(tiny.path, tmp_path / "copy"))
    golden = tiny.golden()
    write_golden(path, replace(golden, pooled=golden.head))
    write_draft(path, tiny.manifest)
    shown = run("inspect", path, code=1)
    assert shown.count("FAILED") == 2 and shown.count("passes") == 1


def test_publish_list_and_roll_back(tiny: Bundle, tmp_path: Path) -> None:
    """The store's commands work on one folder and mark what is current."""
    store = tmp_path / "store"
    assert "no bundle is published" in run("list", "--store", store)
    run("publish", tiny.path, "--store", store)
    run("publish", tiny_bundle(tmp_path / "later", version="0.2.0"), "--store", store)
    assert "* tiny@0.2.0" in run("list", "--store", store)
    assert "tiny@0.1.0 is current again" in run("rollback", "tiny", "--store", store)
    rows = json.loads(run("list", "--store", store, "--json"))
    assert [(row["version"], row["current"]) for row in rows] == [("0.1.0", True), ("0.2.0", False)]
    assert load(Path(rows[0]["path"])).manifest == tiny.manifest


def test_channels_on_the_command_line(tiny: Bundle, tmp_path: Path) -> None:
    """A candidate stands beside what is stable, is found by its channel, and becomes stable by being published."""
    store = ("--store", tmp_path / "store")
    run("publish", tiny.path, *store)
    later = tiny_bundle(tmp_path / "later", version="0.2.0")
    assert "tiny@0.2.0 is candidate now" in run("publish", later, "--channel", "candidate", *store)
    shown = run("list", *store)
    assert "* tiny@0.1.0" in shown and "  tiny@0.2.0" in shown and shown.rstrip().endswith("(candidate)")
    found = run("resolve", "tiny:candidate", *store).strip()
    assert "tiny@0.2.0 is current" in run("publish", found, *store)
    assert [row["channels"] for row in data("list", *store)] == [[], ["stable", "candidate"]]
    assert "no name of a channel" in str(
        CliRunner().invoke(app, ["publish", found, "--channel", "A", *map(str, store)]).exception
    )
    assert data("prune", "tiny", "--keep", 0, *store)["removed"] == [str(tmp_path / "store" / "tiny" / "0.1.0")]


def test_the_store_of_the_environment_is_the_workers(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` in ACTIONWIRE_STORE, which no shell has replaced, means the same to commands and to workers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ACTIONWIRE_STORE", "~/bundles")

    run("publish", tiny.path)

    assert resolve("tiny", default_store()) == tmp_path / "bundles" / "tiny" / "0.1.0"


def test_build_does_what_a_first_start_would_wait_for(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU: the batch sizes that may be mixed are proven, and remembered for the next start."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    made = data("build", tiny.path)
    assert (made["backend"], made["device"], made["executed"]) == ("openvino", "CPU", True)
    assert made["sizes"]["image.onnx"][-1] == 1 and made["plans"] == [] and made["batch_invariant"]
    assert list((tmp_path / "tiles").iterdir())
    assert "tiny@0.1.0 with openvino fp32: ready on CPU" in run("build", tiny.path)


def test_build_makes_plans_once(tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no GPU is, TensorRT for RTX builds for nobody to run, and it is said; `prune` removes what it left."""
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    monkeypatch.setattr("engines.build.prepare.open_cuda", no_gpu)
    shown = run("build", tiny.path, "--backend", "tensorrt", "--buckets", "1,4")
    assert "head.onnx, batches of 4: Building engine" in shown and "built, NOT run: there is no device here" in shown
    again = data("build", tiny.path, "--backend", "tensorrt", "--buckets", "4,1,1")
    rows = [(one["network"], one["rows"]) for one in again["plans"]]
    assert rows == [("image.onnx", 1), ("image.onnx", 4), ("head.onnx", 1), ("head.onnx", 4)]
    assert not again["executed"] and again["batch_invariant"] is None
    assert all((Path(one["path"]) / "plan").stat().st_size == one["bytes"] for one in again["plans"])
    assert "0 removed" in run("prune")
    removed = data("prune", "--days", 0)
    assert len(removed["removed"]) == 4 and removed["bytes"] > sum(one["bytes"] for one in again["plans"])


def no_gpu(index: int) -> None:
    """As on a machine without one."""
    raise BackendUnavailable("no NVIDIA driver is on this machine; install one, or let the backend be openvino")


def test_a_gpu_that_was_named_is_needed(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `auto` builds for no device."""
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr("engines.build.prepare.open_cuda", no_gpu)
    result = CliRunner().invoke(app, ["build", str(tiny.path), "--backend", "tensorrt", "--device", "1"])
    assert isinstance(result.exception, BackendUnavailable)


@pytest.mark.parametrize("wrong", ["--buckets=1,,4", "--buckets=0", "--buckets=x", "--precision=fp8"])
def test_build_names_what_is_wrong(tiny: Bundle, wrong: str) -> None:
    """Before anything is opened, with exit code 2."""
    assert wrong.split("=")[0] in run("build", tiny.path, wrong, code=2)


def test_bench_prints_a_table(tiny: Bundle) -> None:
    """The table has a row per backend, stage and batch."""
    shown = run("bench", tiny.path, "--seconds", 0.01)
    assert "GFLOP/s" in shown and shown.count("onnxruntime") == 6


def test_help_names_every_command() -> None:
    """A stranger finds the commands."""
    shown = run("--help")
    for name in ("inspect", "bench", "build", "prune", "list", "resolve", "publish", "fetch", "rollback"):
        assert name in shown


@pytest.mark.parametrize(("arguments", "code"), [(["inspect"], 2), (["nonsense"], 2), (["inspect", "nowhere"], 1)])
def test_exit_codes_tell_misuse_from_failure(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong use ends with 2, a bundle that is not there with 1 and one line that says what to do."""
    monkeypatch.setattr(sys, "argv", ["actionwire-engines", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    if code == 1:
        error = capsys.readouterr().err
        assert error.startswith("error: no bundle nowhere") and error.count("\n") == 1


def test_a_tampered_bundle_is_told_on_the_command_line(tiny: Bundle, tmp_path: Path) -> None:
    """The installed command names the changed file, shows no trace and ends with 1."""
    path = Path(shutil.copytree(tiny.path, tmp_path / "copy"))
    (path / "text.onnx").write_bytes(b"changed")
    command = [sys.executable, "-m", "engines.cli", "inspect", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "text.onnx does not match the sha256" in ended.stderr and "Traceback" not in ended.stderr
