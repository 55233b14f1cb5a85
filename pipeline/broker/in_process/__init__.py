"""The broker inside one process, for pure tests and `--bootstrap in-process`.

It keeps the contract with threads and a lock: offsets, groups, transactions and the order of everything, but no
fencing, no compaction, nothing on disk and no second process. Given the same calls in the same order it does the same.
"""

from pipeline.broker.in_process.broker import InProcessBroker
from pipeline.broker.in_process.groups import InProcessConsumer

__all__ = ["InProcessBroker", "InProcessConsumer"]
