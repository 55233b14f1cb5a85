"""Kill workers and brokers while events fire, then hold what subscribers got against an undisturbed run.

    python tests/end_to_end/chaos --seed 1 [--scale small|full] [--json FILE] [--keep FOLDER]

Over an Apache Kafka of its own, two supervised workers turn the frames of eight cameras into events while faults drawn
from the seed happen. They reach it through a proxy that loses requests and delivers them late. Afterwards one
undisturbed worker reads the same frames, offsets included, under another namespace. Events and dead letters must be the
same to the byte, but for the name of the frames topic in them.

Prints JSON to stdout. Exit code 0: nothing lost, doubled or differing, no position moved back, every late request
refused, every fault carried out, no stall above 20 s.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from crew import WorkerProcess
from deployment import Deployment
from faults import EXTRA_SLOTS, SLOTS, Faults, plan
from feeder import Feeder
from footage import RATE, SHOWN, cameras
from late import FENCED, LateProxy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from stalls import Stall, StallWatch
from verdict import compare_dead, compare_events, renamed

from engines.testing import tiny_bundle
from pipeline.broker import connect
from pipeline.config.kafka import KafkaSettings
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode
from pipeline.records.label_report import is_report

CAMERAS = 8
SPEED = 2.0
"""Ticks are published this many times faster than they were captured."""
LOST_SECONDS = 10.0
STALL_LIMIT = 20.0
DRAIN_SECONDS = 120.0


def main() -> int:
    """Run, print the report, and say by the exit code whether it is good."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1, help="faults and frames are drawn from it")
    parser.add_argument("--scale", choices=("small", "full"), default="full", help="small takes about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to a file too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave logs and the broker's data there")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="actionwire-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        ) as progress:
            report = run(options.seed, options.scale, folder, progress)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return 0 if report["passed"] else 1


def run(seed: int, scale: str, folder: Path, progress: Progress) -> dict[str, Any]:
    """One run: disturb, drain, run undisturbed, compare."""
    began = time.monotonic()
    bundle = tiny_bundle(folder / "bundle", frames=8)
    with ExitStack() as stack:
        node = stack.enter_context(BrokerNode(folder / "broker", overrides=TEST_OVERRIDES))
        broker = connect(KafkaSettings(bootstrap=node.bootstrap))
        stack.callback(broker.close)
        proxy = LateProxy(node.bootstrap)
        proxy.start()
        stack.callback(proxy.stop)
        chaos = Deployment.create(broker, folder, "chaos", proxy.address, bundle, LOST_SECONDS)
        disturbed = disturb(chaos, node, proxy, seed, scale, folder, progress, stack)
        got, dead, frames = chaos.read("events"), chaos.read("dead"), chaos.read("frames")
        reference = Deployment.create(broker, folder, "calm", node.bootstrap, bundle, 3600.0)
        calm(reference, frames, chaos.read("control"), folder, progress, stack)
        events = compare_events(reference.read("events"), renamed(got, "chaos", "calm"))
        letters = compare_dead(reference.read("dead"), renamed(dead, "chaos", "calm"))
    kinds = Counter(dict(one.headers).get("kind", b"none").decode() for one in frames)
    report = {
        **events.document(),
        "longest_stall_s": disturbed.pop("longest_stall_s"),
        "dead_letters": letters.document(),
        "seed": seed,
        "scale": scale,
        "seconds": round(time.monotonic() - began, 1),
        "cameras": CAMERAS,
        "records": {**kinds, "partitions": len({one.partition for one in frames})},
        "phases": Counter(json.loads(one.value or b"{}")["phase"] for one in got),
        "reasons": Counter(str(json.loads(one.value or b"{}")["reason"]) for one in got),
        **disturbed,
    }
    good = events.clean and events.due > 0 and letters.clean and report["longest_stall_s"] <= STALL_LIMIT
    good = good and not (report["moved_back"] or report["late"]["taken"])
    report["passed"] = bool(good and report["drained"] and not report["missed"] and not report["gave_up"])
    return report


def disturb(
    chaos: Deployment,
    node: BrokerNode,
    proxy: LateProxy,
    seed: int,
    scale: str,
    folder: Path,
    progress: Progress,
    stack: ExitStack,
) -> dict[str, Any]:
    """Feed the workers and let everything go wrong; ends with workers stopped and all frames processed."""
    workers = {slot: WorkerProcess(slot, folder, chaos.config) for slot in (*SLOTS, *EXTRA_SLOTS)}
    for worker in workers.values():
        stack.callback(worker.crash)
    settings = chaos.settings
    away = int((LOST_SECONDS + 6) * RATE * SPEED)
    feeder = Feeder(chaos.broker, chaos.frames, cameras(CAMERAS, seed, away), settings.topics.partitions, RATE * SPEED)
    watch = StallWatch(node.bootstrap, chaos.frames, chaos.group, settings.topics.partitions, lambda: feeder.ends)
    for slot in SLOTS:
        workers[slot].start()
    watch.start()
    wait_for_positions(watch, settings.topics.partitions)
    feeder.start()
    faults = Faults(node, proxy, chaos.broker, workers, feeder, f"{chaos.namespace}.{chaos.group}.{{}}")
    planned = plan(seed, scale, settings.worker.session_seconds)
    changes = {len(planned) // 4: (SHOWN[4], True), len(planned) // 2: (SHOWN[5], True)}
    changes[3 * len(planned) // 4] = (SHOWN[4], False)
    task = progress.add_task("chaos", total=len(planned))
    for number, fault in enumerate(planned):
        if change := changes.get(number):
            chaos.change_label(change[0], watched=change[1])
        progress.update(task, description=f"{fault.kind} {fault.slot} {fault.step}".ljust(20))
        if not progress.console.is_terminal:
            progress.console.print(f"{number + 1}/{len(planned)} {fault.kind} {fault.slot} {fault.step}")
        faults.inflict(fault)
        progress.advance(task)
    progress.update(task, description="draining".ljust(20))
    feeder.finish()
    drained = chaos.drain(DRAIN_SECONDS)
    watch.stop()
    for slot in SLOTS:
        workers[slot].stop()
    # A worker tells partitions that it gets of the labels in force; said once more, that changes nothing.
    drained = drained and all(dict(one.headers).get("kind") == b"labels" for one in chaos.waiting())
    longest = max(watch.clock.longest.values(), default=None)
    return {
        "longest_stall_s": round(longest.seconds, 1) if longest else 0.0,
        "moved_back": watch.clock.moved_back,
        "late": lateness(proxy),
        "stalls_s": [told(one, faults) for one in sorted(watch.clock.stalls, reverse=True)[:12]],
        "drained": drained,
        "sent": feeder.sent,
        "undelivered": feeder.failed,
        "done": dict(sorted(faults.done().items())),
        "missed": faults.missed(),
        "gave_up": faults.gave_up,
        "worker_exits": exits([worker.log for worker in workers.values()]),
        "faults": faults.record,
    }


def lateness(proxy: LateProxy) -> dict[str, Any]:
    """How many requests came late, and what became of them."""
    fenced = sum(proxy.answers[name] for name in FENCED)
    return {
        "requests": proxy.answers.total(),
        "fenced": fenced,
        "taken": proxy.answers["NoError"],
        "answers": dict(proxy.answers),
    }


def told(stall: Stall, faults: Faults) -> dict[str, Any]:
    """A stall, and the faults that happened in it or just before."""
    until = stall.until - faults.began
    within = [one for one in faults.record if until - stall.seconds - 2.0 <= one["at_s"] <= until]
    return {
        "partition": stall.partition,
        "seconds": round(stall.seconds, 1),
        "until_s": round(until, 1),
        "faults": [f"{one['kind']} {one['worker']} {one['step']}".strip() for one in within],
    }


def calm(
    reference: Deployment, frames: list[Any], control: list[Any], folder: Path, progress: Progress, stack: ExitStack
) -> None:
    """The undisturbed run: one worker, the same frames, and the same label sets from the same offsets.

    A worker first begins the empty partitions with the label set that the disturbed run began them with, and stops.
    Then control records and frames are copied: so no marker names a set that is not there yet. What this worker itself
    appends to the frames lies behind everything that is compared.
    """
    task = progress.add_task("undisturbed run".ljust(20), total=len(frames))
    worker = WorkerProcess("calm", folder, reference.config)
    stack.callback(worker.crash)
    watch = StallWatch(
        reference.settings.kafka.bootstrap,
        reference.frames,
        reference.group,
        reference.settings.topics.partitions,
        dict,
    )
    watch.start()
    worker.start()
    wait_for_positions(watch, reference.settings.topics.partitions)
    worker.stop()
    own = len(reference.read("control"))  # its labels, and what the worker said of them: a report decides nothing
    if not all(is_report(one.key) for one in control[1:own]):
        raise RuntimeError(f"the disturbed run changed labels before its workers had reported: offsets 1 to {own - 1}")
    reference.copy(control[own:], "control")
    reference.copy(frames, "frames")
    worker.start()
    deadline = time.monotonic() + 60 + len(frames) / 50
    while reference.lag():
        progress.update(task, completed=sum(watch.positions.values()))
        if time.monotonic() > deadline:
            raise RuntimeError(f"the undisturbed run does not come to its end; see {worker.log}")
        time.sleep(0.5)
    progress.update(task, completed=len(frames))
    watch.stop()
    worker.stop()


def wait_for_positions(watch: StallWatch, partitions: int, seconds: float = 240.0) -> None:
    """Wait until every partition was begun by a worker."""
    deadline = time.monotonic() + seconds
    while len(watch.positions) < partitions:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {len(watch.positions)} of {partitions} partitions were begun in {seconds:g} s")
        time.sleep(0.1)


def exits(logs: list[Path]) -> dict[str, int]:
    """How workers ended, by exit code, as their supervisors saw it."""
    found: Counter[str] = Counter()
    for log in logs:
        for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
            if "starting it again" in line:
                found[str(json.loads(line).get("exit_code"))] += 1
    return dict(sorted(found.items()))


if __name__ == "__main__":
    sys.exit(main())
