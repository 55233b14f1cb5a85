"""Batches between the two inference threads."""

from __future__ import annotations

import threading

from pipeline.errors import TransactionAborted
from pipeline.worker.inference.relay import Relay


def relay(depth: int = 2) -> Relay[int]:
    """A relay of numbers."""
    return Relay(depth)


def test_what_waits_is_taken_together_and_room_comes_back() -> None:
    """Two batches may wait while one is being concluded; those two are concluded together, before one commit.

    waiting     1    -    2    2 3      -
    taken            1                  2 3
    """
    between = relay()
    between.put(1)
    assert between.take(0.0) == [1]
    between.put(2)
    assert between.has_room(0.0)
    between.put(3)
    assert not between.has_room(0.0)
    between.done()
    assert between.take(0.0) == [2, 3] and between.has_room(0.0)


def test_both_rest_only_when_nothing_waits_and_nothing_is_being_concluded() -> None:
    """So the preparing side may then touch what belongs to the other."""
    between = relay()
    rest = [between.rests(0.0)]
    between.put(1)
    rest.append(between.rests(0.0))
    between.take(0.0)
    rest.append(between.rests(0.0))
    between.done()
    rest.append(between.rests(0.0))
    assert between.take(0.0) == []
    rest.append(between.rests(0.0))
    assert rest == [True, False, False, True, True]


def test_after_a_failure_everything_that_was_prepared_is_worthless() -> None:
    """Also what the preparing side was in the middle of; it takes the failure once, and begins anew."""
    between, failure = relay(), TransactionAborted("injected")
    between.put(1)
    between.take(0.0)
    between.put(2)
    between.fail(failure)
    between.put(3)
    assert between.failed and between.rests(0.0) and between.take(0.0) == []
    assert between.take_failure() is failure and between.take_failure() is None
    between.put(4)
    assert between.take(0.0) == [4]


def test_stopping_wakes_whoever_waits() -> None:
    """Neither side waits for one that has ended."""
    between = relay(depth=1)
    between.put(1)
    between.take(0.0)
    between.put(2)
    waits = [threading.Thread(target=wait, args=(600.0,)) for wait in (between.has_room, between.rests)]
    idle = relay()
    waits.append(threading.Thread(target=idle.take, args=(600.0,)))
    for one in waits:
        one.start()
    between.stop()
    idle.stop()
    for one in waits:
        one.join(10)
    assert not any(one.is_alive() for one in waits) and between.stopped
