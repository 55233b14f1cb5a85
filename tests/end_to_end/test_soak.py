"""The soak's figures: what grows is told, what only comes and goes is not. The soak itself: `make soak`."""

import os
import subprocess
import sys
import threading

from figures import Held, grows, growth, held

ROUNDS = [20.0 * number for number in range(36)]


def series(megabytes: float = 0.0, threads: float = 0.0, descriptors: float = 0.0) -> list[Held]:
    """Twelve minutes in which so much comes each minute, while a camera with four threads comes and goes."""
    return [
        Held(
            at,
            150 + megabytes * at / 60 + 3 * (number % 2),
            60 + round(threads * at / 60) + 4 * (number % 2),
            20 + round(descriptors * at / 60) + number % 2,
            0.0,
        )
        for number, at in enumerate(ROUNDS)
    ]


def test_what_comes_and_goes_does_not_grow() -> None:
    """A camera that is there in every other round is no growth, whichever round is the last."""
    assert grows(series()) == grows(series()[:-1]) == []


def test_what_grows_is_named() -> None:
    """Each by itself, with how much comes in a minute."""
    assert [one.split()[1] for one in grows(series(megabytes=2.0))] == ["megabytes"]
    assert [one.split()[1] for one in grows(series(threads=1.0))] == ["threads"]
    assert [one.split()[1] for one in grows(series(descriptors=1.0))] == ["descriptors"]


def test_the_start_does_not_count() -> None:
    """Libraries are loaded and threads started one after the other: what is so from then on is no growth."""
    start = [Held(at, at, round(at), round(at), 0.0) for at in ROUNDS[:18]]

    assert grows([*start, *series()[18:]]) == []
    assert growth(start) is None


def test_what_a_process_and_its_children_hold_is_seen() -> None:
    """A thread, a descriptor and a child more than before."""
    before = held(os.getpid(), 0.0)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        after = held(os.getpid(), 1.0)
        stop.set()
        child.communicate(b"")
    thread.join()

    assert after.threads >= before.threads + 2
    assert after.descriptors > before.descriptors
    assert after.megabytes > before.megabytes
