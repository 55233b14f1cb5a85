import os
import socket

import pytest

from pipeline.worker.process import fresh_slot


def test_two_workers_are_never_called_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers on one host network have its name and the same process number; by one name they would end each
    other for ever.
    """
    monkeypatch.setattr(socket, "gethostname", lambda: "camhost")
    monkeypatch.setattr(os, "getpid", lambda: 1)

    names = {fresh_slot() for _ in range(10)}

    assert len(names) == 10 and all(name.startswith("camhost-1-") for name in names)
