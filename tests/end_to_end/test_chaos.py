"""The chaos run in small, and that its verdict and its clock would tell if something were wrong."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from faults import ACTS, ASSIGN_STEPS, BETWEEN, COMMIT_STEPS, Fault, plan
from late import LOSSES
from stalls import StallClock
from verdict import compare_events

from pipeline.records.wire import Record

CHAOS = Path(__file__).parent / "chaos"


def event(number: int, partition: int = 0) -> Record:
    """One event message as subscribers read it."""
    name = f"event-{number}.0".encode()
    return Record("calm.events", partition, number, b"cam", b'{"n":%d}' % number, (("ce_id", name),))


DUE = [event(1), event(2), event(3), event(4, partition=1)]


@pytest.mark.parametrize(
    ("got", "lost", "doubled", "differing"),
    [
        pytest.param(DUE, 0, 0, 0, id="the same"),
        pytest.param([replace(one, offset=one.offset + 7) for one in DUE], 0, 0, 0, id="other offsets"),
        pytest.param([DUE[3], *DUE[:3]], 0, 0, 0, id="partitions are not ordered among each other"),
        pytest.param(DUE[1:], 1, 0, 0, id="one lost"),
        pytest.param([*DUE, DUE[1]], 0, 1, 0, id="one twice"),
        pytest.param([*DUE[:3], replace(DUE[3], value=b"{}")], 0, 0, 1, id="other bytes"),
        pytest.param([*DUE[:3], replace(DUE[3], partition=2)], 0, 0, 1, id="another partition"),
        pytest.param([DUE[1], DUE[0], *DUE[2:]], 0, 0, 2, id="another order"),
        pytest.param([*DUE, event(9)], 0, 0, 1, id="one that nobody was due"),
    ],
)
def test_the_verdict_tells_what_is_wrong(got: list[Record], lost: int, doubled: int, differing: int) -> None:
    """A message that is missing, comes twice, or is not the same is counted, each as what it is."""
    found = compare_events(DUE, got)
    assert (found.lost, found.doubled, found.differing) == (lost, doubled, differing)
    assert found.clean == (lost + doubled + differing == 0)


def test_a_stall_is_time_without_progress_while_frames_wait_and_the_broker_is_there() -> None:
    """The clock stands while nothing waits, and starts again when the position moves or the broker comes back.

    time       0   1   2 ... 9   10  11      12 ... 16
    position   5   5   5     5   6   6  away  6      6
    end        5   5   9     9   9   9        9      9
               nothing  |--- 8 ---|   |-1|    |-- 4 -|
    """
    clock = StallClock()
    for now in range(2):
        clock.observe(now, {0: 5}, {0: 5})
    for now in range(2, 10):
        clock.observe(now, {0: 5}, {0: 9})
    clock.observe(10, {0: 6}, {0: 9})
    assert clock.longest[0].seconds == 9.0 and [one.seconds for one in clock.stalls] == [9.0]
    clock.observe(11, {0: 6}, {0: 9})
    clock.away()
    for now in range(12, 17):
        clock.observe(now, {0: 6}, {0: 9})
    assert clock.longest[0].seconds == 9.0 and len(clock.stalls) == 1


def test_every_step_is_killed_at_and_every_fault_is_planned() -> None:
    """A full plan holds what the project promises to survive; equal seeds give equal plans."""
    faults = plan(3, "full", 6.0)
    every = [*faults, *(one.meanwhile for one in faults if one.meanwhile)]
    kinds = [one.kind for one in every]
    assert faults == plan(3, "full", 6.0) != plan(4, "full", 6.0)
    assert kinds.count("kill") + kinds.count("crash") >= 20 and kinds.count("broker") == 5 and set(kinds) == set(ACTS)
    assert {one.step for one in every if one.kind == "kill_at"} == {*COMMIT_STEPS, *ASSIGN_STEPS, BETWEEN}
    stops: list[Fault] = [one for one in every if one.kind == "stop"]
    assert len(stops) == 10 and all(one.seconds > 6.0 for one in stops)
    assert sum(one.idle for one in every if one.kind == "broker") >= 2
    assert {one.step for one in every if one.kind == "late"} == set(LOSSES)


def test_a_position_that_becomes_a_smaller_one_is_counted() -> None:
    """One that is not known for a moment has not moved."""
    clock = StallClock()
    for now, position in enumerate([{0: 5, 1: 5}, {0: 6}, {0: 4, 1: 5}, {0: 6, 1: 6}]):
        clock.observe(now, position, {0: 9, 1: 9})
    assert clock.moved_back == 1


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.timeout(420)
def test_workers_and_a_broker_are_killed_and_subscribers_do_not_notice(tmp_path: Path) -> None:
    """A minute of faults on a real broker: events and dead letters are those of an undisturbed run, byte for byte."""
    command = [sys.executable, str(CHAOS), "--seed", "1", "--scale", "small", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    report = json.loads(done.stdout or "{}")
    assert report, done.stderr[-3000:]
    kinds = {"kill", "kill_at", "stop", "broker", "abort", "fence", "late"}
    carried_out = {key: report[key] for key in ("drained", "missed", "gave_up")}
    assert carried_out == {"drained": True, "missed": [], "gave_up": 0} and kinds <= report["done"].keys(), report
    assert report["due"] == report["got"] > 20, report
    assert (report["lost"], report["doubled"], report["differing"]) == (0, 0, 0), report
    assert report["moved_back"] == 0 and report["late"]["fenced"] == report["late"]["requests"] > 4, report
    assert report["dead_letters"]["lost"] + report["dead_letters"]["doubled"] + report["dead_letters"]["differing"] == 0
