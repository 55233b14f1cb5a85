"""The watchdog: when a step counts as hung, and what happens then."""

import subprocess
import sys
import threading

from pipeline.broker.watchdog import Overdue, Watchdog, WatchdogThread
from pipeline.local.ports import free_port
from pipeline.supervisor import STUCK


def test_a_step_is_overdue_after_its_limit() -> None:
    """Time with a reachable broker counts up to the limit, then the step is named.

    s    0.....4.....8....12....12.5
         begin                  overdue
    """
    watchdog = Watchdog(limit=12)
    watchdog.begin("commit", 0)

    assert [watchdog.check(now, True) for now in (4, 8, 12)] == [None, None, None]
    assert watchdog.check(12.5, True) == Overdue("commit", 12.5, 12.5)


def test_time_without_a_broker_does_not_count() -> None:
    """While nothing accepts connections the step may wait; counting goes on when the broker is back.

    s          0....4........30........38.......43
    reachable   yes    no        yes      yes
    counted         4        4        12       17
    """
    watchdog = Watchdog(limit=12)
    watchdog.begin("commit", 0)

    assert watchdog.check(4, True) is None
    assert watchdog.check(30, False) is None
    assert watchdog.check(38, True) is None
    assert watchdog.check(43, True) == Overdue("commit", 17, 43)


def test_the_hard_limit_counts_always() -> None:
    """After sixty seconds a step is overdue, broker or no broker."""
    watchdog = Watchdog(limit=12, hard_limit=60)
    watchdog.begin("abort", 100)

    assert watchdog.check(160, False) is None
    assert watchdog.check(160.5, False) == Overdue("abort", 0, 60.5)


def test_steps_that_end_are_forgotten() -> None:
    """Many short steps never add up, and a step inside another one is watched by itself."""
    watchdog = Watchdog(limit=12)
    for start in range(0, 100, 10):
        number = watchdog.begin("commit", start)
        assert watchdog.check(start + 10, True) is None
        watchdog.end(number)
    outer = watchdog.begin("outer", 100)
    inner = watchdog.begin("inner", 105)
    watchdog.end(inner)

    assert watchdog.check(111, True) is None
    watchdog.end(outer)
    assert watchdog.check(200, True) is None
    assert watchdog.oldest(200) == 0


def test_the_thread_calls_once_when_a_step_hangs() -> None:
    """A step that outlives its limit is reported while it still runs; steps that end in time are not."""
    calls: list[Overdue] = []
    expired = threading.Event()

    def expire(overdue: Overdue) -> None:
        calls.append(overdue)
        expired.set()

    watchdog = Watchdog(limit=60, hard_limit=0.3)
    thread = WatchdogThread([("127.0.0.1", free_port())], watchdog=watchdog, expire=expire, interval=0.02)
    with thread.step("short"):
        pass
    with thread.step("long"):
        assert expired.wait(20)
    thread.stop()

    assert [overdue.step for overdue in calls] == ["long"]


def test_the_process_ends_with_its_own_exit_code() -> None:
    """By default an overdue step ends the process at once, although a thread of it hangs."""
    program = (
        "import time; from pipeline.broker.watchdog import *\n"
        "thread = WatchdogThread([], watchdog=Watchdog(hard_limit=0.1), interval=0.02)\n"
        "with thread.step('commit'): time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)

    assert done.returncode == STUCK == 75
    assert "commit" in done.stdout + done.stderr
