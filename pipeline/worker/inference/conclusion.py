"""The second half of inference: score and decide what was prepared, and commit. Owns the transactions.

While a commit waits for the broker, further batches are prepared; what is decided of them joins the next transaction.
There is one at a time. `turn` belongs to the concluding thread. Everything else belongs to the preparing one, which
calls it only while the relay rests.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from pipeline.analysis.analyser import Analyser, Prepared
from pipeline.broker.contract import Transactions
from pipeline.errors import FencedError, TransientError
from pipeline.worker.commit import Committer, Destinations
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Handover, WorkerContext
from pipeline.worker.inference.progress import Progress
from pipeline.worker.inference.relay import Relay

TRANSACTION_SECONDS = 10.0
MEMBERSHIP_SECONDS = 5.0
"""How long a commit waits for a rebalance to end. A longer rebalance may cost an aborted transaction."""

log = structlog.get_logger(__name__)


class Conclusion:
    """What is decided and not committed yet, and the means to commit it."""

    def __init__(self, context: WorkerContext, analyser: Analyser, handover: Handover, epochs: Epochs) -> None:
        """Begin with a working transactional producer. Raises TransientError, ConfigurationError."""
        settings, topics, worker = context.settings, context.settings.topics, context.settings.worker
        self._context, self._handover, self._metrics = context, handover, context.metrics
        self._commit_seconds = worker.commit_seconds
        self._transactional_id = f"{topics.namespace}.{worker.group}.{context.slot}"
        self._transactions = self._begin_transactions()
        to = Destinations(
            topics.name("events"), topics.name("state"), topics.name("dead"), worker.group, settings.source
        )
        self.committer = Committer(analyser, epochs, to)
        self.progress = Progress(context.metrics, context.event_rate, context.now_ns)
        self.committed_at = context.monotonic()

    def close(self) -> None:
        """Release the producer."""
        self._transactions.close()

    def turn(self, relay: Relay[Prepared], seconds: float) -> None:
        """Conclude what waits, after at most so long, and commit when it is time. Raises FencedError.

        A transaction that failed is told to the preparing side, which restores everything.
        """
        batches = relay.take(seconds)
        if not batches:
            return
        try:
            with self._metrics.busy("concluding"):
                for one in batches:
                    self.committer.pending.add(self.committer.analyser.conclude(one))
                if self.due:
                    self.commit()
        except TransientError as error:
            relay.fail(error)
            self._handover.interrupt()
        else:
            relay.done()

    @property
    def due(self) -> bool:
        """True when it is time to commit."""
        late = self._context.monotonic() - self.committed_at >= self._commit_seconds
        return self.committer.pending.urgent or late

    def commit(self) -> None:
        """Commit what is decided. Raises FencedError, TransientError."""
        self.committed_at = self._context.monotonic()
        try:
            with self._metrics.stage("commit"):
                dead = len(self.committer.pending.dead)
                fired = self.committer.commit(self._transactions, self._handover.membership(MEMBERSHIP_SECONDS))
        except FencedError:
            self._metrics.transaction("fenced")
            raise
        except TransientError:
            self._metrics.transaction("aborted")
            raise
        if fired is not None:
            self._metrics.transaction("committed")
            self.progress.committed(fired, dead)

    def renew(self, turned: Callable[[], None]) -> None:
        """Get a new producer, which ends the transaction of the old one; for as long as it takes, or until the end.

        The old producer is never used again, even if it could abort. kafka-python 3.0.12 keeps the positions of a
        transaction whose `send_offsets` failed and commits them with the next transaction, beside other events.
        turned: called as a sign of life.
        """
        self._transactions.close()
        while not self._handover.stopped:
            try:
                self._transactions = self._begin_transactions()
                return
            except TransientError as error:
                log.warning("no transactions at the moment", reason=str(error))
                turned()
                time.sleep(0.5)

    def _begin_transactions(self) -> Transactions:
        return self._context.broker.transactions(self._transactional_id, TRANSACTION_SECONDS)
