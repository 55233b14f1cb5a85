import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.camera.backoff import Backoff


@given(st.floats(0.01, 5), st.floats(5, 60), st.integers(0, 2**32), st.integers(1, 80))
def test_waits_stay_below_their_bounds(base: float, cap: float, seed: int, failures: int) -> None:
    """The n-th wait lies between 0 and base * 2^n, and never above the cap, however long a camera is away."""
    backoff = Backoff(base, cap, random.Random(seed))
    waits = [backoff.next() for _ in range(failures)]

    assert all(0 <= wait <= min(cap, base * 2**number) for number, wait in enumerate(waits))


def test_waits_spread_and_grow() -> None:
    """A hundred cameras lost together come back at a hundred different moments, later ones further apart."""
    crowd = [Backoff(1.0, 30.0, random.Random(seed)) for seed in range(100)]
    first, second = [one.next() for one in crowd], [one.next() for one in crowd]

    assert len(set(first)) == 100
    assert max(second) > 1.5 > 1.0 >= max(first)


@given(st.integers(0, 2**32))
def test_a_wrong_password_locks_no_account(seed: int) -> None:
    """At most four attempts in the first 115 s, and then few in an hour: cameras lock an account after five.

    refused  0 ... 10 ... 20 ........ 5 to 10 min ........ 10 to 20 min ........ at most half an hour
    """
    backoff = Backoff(0.5, 30.0, random.Random(seed))
    at, attempts = 0.0, [0.0]
    while at < 4 * 3600:
        at += backoff.refused()
        attempts.append(at)

    assert sum(one <= 115 for one in attempts) <= 4
    assert sum(one <= 3600 for one in attempts) <= 9
    assert max(later - earlier for earlier, later in pairwise(attempts)) <= 1800


@given(st.integers(0, 2**32))
def test_a_camera_that_refuses_while_it_boots_is_back_soon(seed: int) -> None:
    """It hangs up, refuses the login for 12 s, and plays: it is tried within half a minute, and its refusals are
    forgotten."""
    backoff = Backoff(0.5, 30.0, random.Random(seed))
    at = backoff.next()
    while at < 12:
        at += backoff.refused()
    assert at < 30

    backoff.accepted()
    assert backoff.refused() <= 12


def test_a_refusal_waits_long_and_a_success_forgets() -> None:
    """What a person must change is not tried in quick succession; after a success the waits are short again."""
    backoff = Backoff(0.5, 30.0, random.Random(1))

    assert all(15.0 <= backoff.next(hopeless=True) <= 30.0 for _ in range(20))
    backoff.reset()
    assert backoff.next() <= 0.5


def test_the_same_seed_waits_the_same() -> None:
    """Waits are a function of the random numbers alone."""
    one, other = (Backoff(0.5, 30.0, random.Random(7)) for _ in range(2))

    assert [one.next() for _ in range(9)] == [other.next() for _ in range(9)]
