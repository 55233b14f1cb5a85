"""Whether a bundle can run in a deployment."""

from __future__ import annotations

import pytest

from engines.bundle.deployment import check_deployment
from engines.bundle.files import Bundle
from engines.errors import IncompatibleBundle


@pytest.mark.parametrize("rate", [4, 8, 12])
def test_a_multiple_of_the_rate_is_served(tiny: Bundle, rate: int) -> None:
    """A bundle trained at 4 frames/s runs in a deployment of 4, 8 or 12, using each 1st, 2nd or 3rd tick."""
    check_deployment(tiny.manifest, rate=rate, rewind_seconds=20)


@pytest.mark.parametrize("rate", [1, 2, 3, 6, 10])
def test_any_other_rate_is_refused(tiny: Bundle, rate: int) -> None:
    """A rate that the bundle's does not divide has no ticks for it."""
    with pytest.raises(IncompatibleBundle, match="multiple of 4"):
        check_deployment(tiny.manifest, rate=rate, rewind_seconds=20)


def test_a_window_longer_than_the_rewind_is_refused(tiny: Bundle) -> None:
    """8 frames at 4 per second, stretched twice under overload, need 4 s after a restart, and what fills their gaps."""
    check_deployment(tiny.manifest, rate=4, rewind_seconds=4.5)
    with pytest.raises(IncompatibleBundle, match=r"rewind_seconds to 4\.5"):
        check_deployment(tiny.manifest, rate=4, rewind_seconds=4.4)
