"""Memory that is kept between training steps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from trainer.training import allocator
if sys.argv[1] == "kept":
    allocator.keep()
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

np.ones(8 * 2**20)
before = faults()
for _ in range(10):
    np.ones(8 * 2**20)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc: nothing to keep")
def test_a_block_that_was_freed_is_taken_again_without_asking_the_kernel() -> None:
    """Ten blocks of 64 MiB, one after the other: page faults for every one by default, for none once memory is kept."""

    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    # A page has 4 KiB or, where the kernel has huge ones to give, 2 MiB: then 32 make a block.
    assert faults("default") >= 10 * 32 and faults("kept") < 100
