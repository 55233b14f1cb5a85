"""The faults of a run: a plan drawn from the seed, and how each kind is carried out."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from crew import WorkerProcess
from feeder import Feeder
from late import LOSSES, LateProxy

from pipeline.broker.contract import Broker
from pipeline.errors import ActionwireError
from pipeline.local.broker_node import BrokerNode

COMMIT_STEPS = tuple(f"commit:{number}" for number in (1, 2, 3, 4, 5, 6, 7, "done"))
BETWEEN = "batch:prepared"
"""A batch is prepared and not concluded, while the one before it may be in a transaction."""
ASSIGN_STEPS = tuple(f"assign:{number}" for number in (1, 2, 3, 4))
SLOTS = ("a", "b")
EXTRA_SLOTS = ("c", "d")
"""Workers that join for a while and leave again, each once."""
ORDER_SECONDS = 45.0
"""Within this time a worker comes to any step that it was told to fail at."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    slot: str = ""
    """The worker it happens to."""
    step: str = ""
    """The numbered step it happens at; empty: at any moment. Late: the request that is."""
    seconds: float = 0.0
    """How long what was taken away stays away."""
    idle: bool = False
    """Broker: nothing was going on before."""
    meanwhile: Fault | None = None
    """What happens while this lasts."""
    gap: float = 1.0
    """Seconds until the next fault."""


def plan(seed: int, scale: str, session_seconds: float) -> list[Fault]:
    """The faults of a run, in order."""
    draw = random.Random(f"faults/{seed}")
    if scale == "small":
        faults = [
            Fault("kill_at", "a", "commit:5"),
            Fault("kill_at", "b", BETWEEN),
            Fault("broker", seconds=1.0, idle=True),
            Fault("stop", "b", seconds=session_seconds + 2.0, meanwhile=Fault("abort", "a", "commit:6")),
            Fault("fence", "a"),
            Fault("kill_at", draw.choice(SLOTS), draw.choice(ASSIGN_STEPS)),
            Fault("kill", draw.choice(SLOTS)),
            *(Fault("late", draw.choice(SLOTS), request) for request in (*LOSSES, "end", "positions")),
        ]
        return [replace(one, gap=draw.uniform(0.2, 1.0)) for one in faults]

    def stop(number: int) -> Fault:
        slot = SLOTS[number % 2]
        other = SLOTS[1 - number % 2]
        meanwhile = {1: Fault("kill", other), 4: Fault("kill", other), 7: Fault("broker", seconds=2.0)}.get(number)
        step = draw.choice(COMMIT_STEPS) if number % 3 == 0 else ""
        seconds = session_seconds + draw.uniform(1.0, 6.0)
        return Fault("stop", slot, step, seconds, meanwhile=meanwhile)

    faults = [Fault("kill", draw.choice(SLOTS)) for _ in range(16)]
    faults += [Fault("crash", draw.choice(SLOTS), seconds=draw.uniform(0.5, 3.0)) for _ in range(4)]
    faults += [Fault("kill_at", draw.choice(SLOTS), step) for step in (*COMMIT_STEPS, *ASSIGN_STEPS, BETWEEN)]
    faults += [stop(number) for number in range(10)]
    faults += [Fault("broker", seconds=draw.uniform(0.5, 6.0), idle=number < 3) for number in range(4)]
    faults += [Fault("abort", draw.choice(SLOTS), step) for step in (*COMMIT_STEPS[3:7], BETWEEN)]
    faults += [Fault("absent", draw.choice(SLOTS), f"assign:{number}") for number in (1, 2)]
    faults += [Fault("fence", draw.choice(SLOTS)) for _ in range(4)]
    faults += [Fault("leave", draw.choice(SLOTS), seconds=draw.uniform(1.0, 4.0)) for _ in range(2)]
    faults += [Fault("join", slot, seconds=draw.uniform(2.0, 6.0)) for slot in EXTRA_SLOTS]
    faults += [Fault("late", draw.choice(SLOTS), request) for request in LOSSES for _ in range(3)]
    draw.shuffle(faults)
    return [replace(one, gap=draw.uniform(1.0, 7.0)) for one in faults]


class Faults:
    """Carries faults out, and keeps a record of them."""

    def __init__(
        self,
        node: BrokerNode,
        proxy: LateProxy,
        broker: Broker,
        workers: Mapping[str, WorkerProcess],
        feeder: Feeder,
        transactions: str,
    ) -> None:
        """Workers by slot; `transactions` is the transactional id of a worker with `{}` for its slot."""
        self._node, self._proxy, self._broker, self._workers, self._feeder = node, proxy, broker, workers, feeder
        self._transactions = transactions
        self.began = time.monotonic()
        self.record: list[dict[str, Any]] = []
        self.gave_up = 0
        """Supervisors that ended by themselves."""

    def inflict(self, fault: Fault) -> None:
        """Carry out one fault and wait for its gap."""
        for worker in self._workers.values():
            if worker.slot in SLOTS and not worker.running:
                self.gave_up += 1
                worker.start()
        self._carry_out(fault)
        time.sleep(fault.gap)

    def done(self) -> Mapping[str, int]:
        """How many faults of each kind were carried out; `kill_at` by its step too."""
        done: Counter[str] = Counter()
        for one in self.record:
            if one["done"]:
                done[one["kind"]] += 1
                if one["kind"] == "kill_at":
                    done[f"kill_at {one['step']}"] += 1
        return done

    def missed(self) -> list[str]:
        """What was planned and could not be carried out."""
        return [f"{one['kind']} {one['worker']} {one['step']}".strip() for one in self.record if not one["done"]]

    def _carry_out(self, fault: Fault) -> None:
        at = time.monotonic()
        done = ACTS[fault.kind](self, fault)
        entry = {
            "at_s": round(at - self.began, 1),
            "kind": fault.kind,
            "worker": fault.slot,
            "step": fault.step,
            "seconds": round(fault.seconds, 1),
            "idle": fault.idle,
            "took_s": round(time.monotonic() - at, 1),
            "done": done,
        }
        self.record.append(entry)

    def _kill(self, fault: Fault) -> bool:
        self._workers[fault.slot].signal(signal.SIGKILL)
        return True

    def _crash(self, fault: Fault) -> bool:
        worker = self._workers[fault.slot]
        worker.crash()
        time.sleep(fault.seconds)
        worker.start()
        return True

    def _kill_at(self, fault: Fault) -> bool:
        return self._ordered("kill", fault)

    def _abort(self, fault: Fault) -> bool:
        return self._ordered("abort", fault)

    def _absent(self, fault: Fault) -> bool:
        return self._ordered("absent", fault)

    def _stop(self, fault: Fault) -> bool:
        worker = self._workers[fault.slot]
        if fault.step:
            if not self._ordered("stop", fault):
                return False
        else:
            worker.signal(signal.SIGSTOP)
        pid = worker.pid()
        until = time.monotonic() + fault.seconds
        if fault.meanwhile:
            time.sleep(fault.seconds / 3)
            self._carry_out(fault.meanwhile)
        time.sleep(max(0.0, until - time.monotonic()))
        with suppress(ProcessLookupError):
            worker.resume(pid)
        return True

    def _fence(self, fault: Fault) -> bool:
        """Take over a worker's transactional id, as a second worker of the same name would."""
        try:
            self._broker.transactions(self._transactions.format(fault.slot), 10.0).close()
        except ActionwireError:
            return False
        return True

    def _late(self, fault: Fault) -> bool:
        """A request of a transaction is lost with its connection, and arrives in a later one."""
        return self._proxy.lose(fault.step, f"{self._transactions.format(fault.slot)}-", ORDER_SECONDS)

    def _broker_away(self, fault: Fault) -> bool:
        if fault.idle:
            self._feeder.pause()
            time.sleep(3.0)
            self._feeder.resume()
            time.sleep(0.3)  # so a transaction is due to begin while nobody answers
        self._node.kill()
        time.sleep(fault.seconds)
        self._node.start(180.0)
        return True

    def _leave(self, fault: Fault) -> bool:
        worker = self._workers[fault.slot]
        code = worker.stop()
        time.sleep(fault.seconds)
        worker.start()
        return code == 0

    def _join(self, fault: Fault) -> bool:
        worker = self._workers[fault.slot]
        worker.start()
        joined = worker.has_joined(ORDER_SECONDS)
        time.sleep(fault.seconds)
        return worker.stop() == 0 and joined

    def _ordered(self, what: str, fault: Fault) -> bool:
        """Have a worker do something at a step; it is brought to an assignment by killing it."""
        worker = self._workers[fault.slot]
        worker.order(what, fault.step)
        if fault.step.startswith("assign"):
            worker.signal(signal.SIGKILL)
        done = worker.carried_out(ORDER_SECONDS)
        worker.withdraw()
        return done


ACTS: Mapping[str, Callable[[Faults, Fault], bool]] = {
    "kill": Faults._kill,
    "crash": Faults._crash,
    "kill_at": Faults._kill_at,
    "abort": Faults._abort,
    "absent": Faults._absent,
    "stop": Faults._stop,
    "fence": Faults._fence,
    "broker": Faults._broker_away,
    "leave": Faults._leave,
    "join": Faults._join,
    "late": Faults._late,
}
"""How each kind of fault is carried out; the answer is whether it was."""
