import random

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


def test_a_refusal_waits_long_and_a_success_forgets() -> None:
    """Wrong passwords are not tried in quick succession; after a success the waits are short again."""
    backoff = Backoff(0.5, 30.0, random.Random(1))

    assert all(15.0 <= backoff.next(hopeless=True) <= 30.0 for _ in range(20))
    backoff.reset()
    assert backoff.next() <= 0.5


def test_the_same_seed_waits_the_same() -> None:
    """Waits are a function of the random numbers alone."""
    one, other = (Backoff(0.5, 30.0, random.Random(7)) for _ in range(2))

    assert [one.next() for _ in range(9)] == [other.next() for _ in range(9)]
