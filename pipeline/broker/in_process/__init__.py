"""The broker inside one process, for pure tests and `--bootstrap in-process`.

It keeps the contract with threads and a lock: offsets, groups, transactions and their order. It has no fencing, no
compaction, no disk and no second process. The same calls in the same order have the same results.
"""

from pipeline.broker.in_process.broker import InProcessBroker
from pipeline.broker.in_process.groups import InProcessConsumer

__all__ = ["InProcessBroker", "InProcessConsumer"]
