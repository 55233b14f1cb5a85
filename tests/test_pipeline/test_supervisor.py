import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline import supervisor
from pipeline.supervisor import decide, supervise


@pytest.mark.parametrize(
    ("code", "worked", "failures", "pause"),
    [
        (0, True, 0, None),
        (1, False, 0, None),
        (2, False, 0, None),
        (1, True, 0, 0.5),
        (1, True, 3, 4.0),
        (1, True, 50, 30.0),
        (2, True, 0, 0.5),
        (2, True, 50, 30.0),
        (3, False, 0, 0.5),
        (3, False, 2, 2.0),
        (3, False, 50, 5.0),
        (4, True, 0, 0.1),
        (75, True, 0, 0.1),
        (-9, True, 1, 0.2),
        (-9, True, 50, 10.0),
        (-11, True, 0, 0.5),
    ],
)
def test_what_an_end_leads_to(code: int, worked: bool, failures: int, pause: float | None) -> None:
    """The table of the module: what never worked ends the parent, everything else starts the child again, ever later.

    A setting that went wrong later (a bundle or a topic that is gone) must not need every worker started by hand.
    """
    assert decide(code, worked, failures) == pause


def command(code: str) -> Sequence[str]:
    """A child that runs this Python code."""
    return [sys.executable, "-c", code]


def test_a_child_that_ends_in_peace_is_not_started_again() -> None:
    """Exit code 0 is passed on."""
    assert supervise(command("pass"), threading.Event()) == 0


def test_a_wrong_setting_is_passed_on() -> None:
    """Exit code 2 is passed on at once."""
    assert supervise(command("raise SystemExit(2)"), threading.Event()) == 2


def test_a_start_that_takes_long_and_fails_is_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, or while engines are built, a child fails later than others have worked for hours.

    began     |            (never)   exit 2: passed on
              |   x                  exit 2: started again
    """
    monkeypatch.setattr(supervisor, "EARLY_SECONDS", 0.2)
    began, stop, starts = tmp_path / "began", threading.Event(), list[int]()
    slow = "import time; time.sleep(0.5); raise SystemExit(2)"
    assert supervise(command(slow), stop, began=began) == 2

    def start(what: Sequence[str]) -> subprocess.Popen[bytes]:
        assert not began.exists()  # of the child before
        starts.append(1)
        return subprocess.Popen(what if len(starts) == 1 else command("pass"))

    working = f"import pathlib, time; pathlib.Path({str(began)!r}).touch(); time.sleep(0.5); raise SystemExit(2)"
    assert supervise(command(working), stop, start=start, began=began) == 0 and len(starts) == 2


def test_a_killed_child_is_started_again() -> None:
    """After SIGKILL another child is started, with the same command, once its predecessor's place was freed.

    child     killed         ended by its watchdog   fenced: it has tidied up   done
    cut off          1                             2
    """
    started: list[Sequence[str]] = []
    cut_off: list[int] = []
    codes = ["import os; os.kill(os.getpid(), 9)", "raise SystemExit(75)", "raise SystemExit(4)", "pass"]

    def start(what: Sequence[str]) -> subprocess.Popen[bytes]:
        started.append(what)
        return subprocess.Popen(command(codes[len(started) - 1]))

    def free() -> None:
        cut_off.append(len(started))

    assert supervise(["worker"], threading.Event(), start=start, cut_off=free) == 0
    assert started == [["worker"]] * 4 and cut_off == [1, 2]


def stopped(code: str, first: signal.Signals | None = None) -> int:
    """Exit code of a supervisor that is told to stop as soon as its child, this Python code, prints a line.

    first: sent to the child before that.
    """
    stop = threading.Event()

    def start(what: Sequence[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(what, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        if first is not None:
            process.send_signal(first)
        stop.set()
        return process

    return supervise(command(code), stop, start=start)


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        pytest.param("lambda *_: exit(0)", 0, id="it stops"),
        pytest.param("lambda *_: exit(4)", 4, id="it fails meanwhile"),
        pytest.param("signal.SIG_DFL", 0, id="it has no handler yet"),
        pytest.param("lambda *_: os.kill(os.getpid(), 9)", 128 + 9, id="it is killed by another"),
        pytest.param("lambda *_: os.kill(os.getpid(), signal.SIGUSR1)", 128 + signal.SIGUSR1, id="any other signal"),
    ],
)
def test_stopping_reaches_the_child(handler: str, code: int) -> None:
    """A supervisor that is told to stop tells its child, waits for it, and ends with its code.

    A child that a signal killed is no success: the code is 128 + the signal, as in a shell. SIGTERM is what it was
    told.
    """
    child = f"import os, signal, time; signal.signal(15, {handler}); print(flush=True); time.sleep(60)"

    assert stopped(child) == code


@pytest.mark.parametrize(
    ("handler", "first"),
    [
        pytest.param("signal.SIG_IGN", None, id="it ignores the signal"),
        pytest.param("lambda *_: exit(0)", signal.SIGSTOP, id="it hangs"),
    ],
)
def test_a_child_that_has_to_be_killed_is_no_success(
    handler: str, first: signal.Signals | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not end when it is told to, so the supervisor kills it and says so in its own exit code."""
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    child = f"import signal, time; signal.signal(15, {handler}); print(flush=True); time.sleep(60)"

    assert stopped(child, first) == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    ("child", "code"),
    [
        pytest.param("import os; os.kill(os.getpid(), 9)", 128 + signal.SIGKILL, id="killed"),
        pytest.param("import os; os.abort()", 128 + signal.SIGABRT, id="crashed"),
        pytest.param("raise SystemExit(3)", 3, id="the broker is away"),
    ],
)
def test_a_stop_between_two_children_passes_on_how_the_first_one_ended(child: str, code: int) -> None:
    """Nothing has gone well since. An operator who stops a worker that crashes again and again must see that.

    child        killed | waits for its next start
    supervisor                 told to stop: 137
    """
    ended: list[Sequence[str]] = []

    class Pause(threading.Event):
        """Told to stop once the supervisor waits although its child has ended."""

        def wait(self, timeout: float | None = None) -> bool:
            if ended:
                self.set()
            return super().wait(timeout)

    def start(what: Sequence[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(what)
        process.wait()
        ended.append(what)
        return process

    assert supervise(command(child), Pause(), start=start) == code
