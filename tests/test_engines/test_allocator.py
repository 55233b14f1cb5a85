"""Options of the allocator."""

from types import SimpleNamespace

import pytest

from engines import allocator
from engines.allocator import Option, configure


@pytest.mark.parametrize("library", [SimpleNamespace(), None], ids=["another C library", "no such library"])
def test_elsewhere_nothing_happens(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system whose C library has no such options runs on without them."""

    def load(_: str) -> object:
        if library is None:
            raise OSError("libc.so.6: cannot open shared object file")
        return library

    monkeypatch.setattr(allocator.ctypes, "CDLL", load)  # type: ignore[attr-defined]

    assert not configure({Option.ARENA_MAX: 1})
