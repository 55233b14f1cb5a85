"""The seam for failure tests: the commit and the assignment step call `reached` at each of their numbered steps.

No production code installs a hook, so a call does nothing. Tests install one that raises, kills or stops the process.
"""

from __future__ import annotations

from collections.abc import Callable

hook: Callable[[str], None] | None = None


def reached(step: str) -> None:
    """Announce a numbered step, such as `commit:3`. Raises what the hook of a test raises."""
    if hook is not None:
        hook(step)
