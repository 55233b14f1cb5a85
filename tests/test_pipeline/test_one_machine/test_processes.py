"""Logs of child processes, and the figures on their pages."""

from pathlib import Path

import pytest

from pipeline.health import HealthServer
from pipeline.metrics import new_registry
from pipeline.one_machine.probe import address, figures, not_ready
from pipeline.one_machine.processes import fetch, last_error, last_lines, rotated, series, with_options

PAGE = 'actionwire_lag_seconds 0.25\nactionwire_lag_seconds_more 7.0\nactionwire_dropped_total{reason="hole"} 3.0\n'


@pytest.mark.parametrize(
    ("name", "value"),
    [("actionwire_lag_seconds", 0.25), ('actionwire_dropped_total{reason="hole"}', 3.0), ("actionwire_lag", None)],
)
def test_a_series_is_found_by_its_whole_name(name: str, value: float | None) -> None:
    """Another one that begins alike is another one."""
    assert series(PAGE, name) == value


def test_why_a_command_ended_is_its_error(tmp_path: Path) -> None:
    """Its `error:` line wins over what follows; without one the last line counts; no login is shown."""
    log = tmp_path / "worker.log"
    assert last_error(log) == "it wrote nothing" and last_lines(log) == ""
    log.write_text("starting\nerror: rtsp://ann:secret@host is wrong\nbye\n")
    assert last_error(log) == "rtsp://***@host is wrong"
    log.write_text("starting\nTraceback\nKeyError: 7\n")
    assert last_error(log) == "KeyError: 7"


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    """One run back, and only its owner may read the new one."""
    log = tmp_path / "worker.log"
    for words in ("first", "second"):
        rotated(log).write_text(words)
    assert rotated(log).read_text() == "" and log.stat().st_mode & 0o077 == 0
    assert (tmp_path / "worker.log.1").read_text() == "second"


def test_options_that_were_not_given_are_left_out() -> None:
    """The child decides then, as the parent did."""
    assert with_options(config=Path("a.yaml"), bootstrap=None) == ["--config", "a.yaml"]


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("0.0.0.0", "http://127.0.0.1:9"),
        ("::", "http://[::1]:9"),
        ("10.0.0.7", "http://10.0.0.7:9"),
        ("fd00::7", "http://[fd00::7]:9"),
    ],
)
def test_who_listens_everywhere_is_asked_here(host: str, found: str) -> None:
    """An address to listen on is not always one to connect to."""
    assert address(host, 9) == found


def test_a_process_tells_its_figures() -> None:
    """Those that it has; a process that is not there, or has no port, tells none."""
    registry = new_registry()
    with HealthServer("127.0.0.1", 0, registry, lambda: None, lambda: None) as server:
        assert fetch(f"{server.url}/live") == "ok\n" and fetch(f"{server.url}/nothing") is None
        assert figures("127.0.0.1", server.port, ("no_such_series",)) == {}
        assert not_ready("127.0.0.1", server.port, "worker") is None
        port = server.port
    assert figures("127.0.0.1", port, ("x",)) == {} == figures("127.0.0.1", None, ("x",))
    assert "nothing answers" in (not_ready("127.0.0.1", port, "worker") or "")
