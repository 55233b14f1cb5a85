"""ONNX to a plan: one network at one batch size, with TensorRT 11 or TensorRT for RTX.

A plan has one static profile. Independence of batch mates (DISTRIBUTIVE_INDEPENDENCE) cannot be had with several, so
every size that is run is a plan of its own. Types are those of the ONNX file: there is no flag for a precision, and
TF32 is off, because float32 would not be float32 with it.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engines.errors import BuildFailed

VERSION = 1
"""Raise it when this module builds something else of the same inputs: plans of before are not used then."""

Told = Callable[[str, float], None]

_MESSAGES = 3


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What is asked of the builder, beside the network and the batch size."""

    tf32: bool = False
    independent: bool = True
    """Equal operations for every row of a batch, where the library promises it."""
    workspace_bytes: int = 2 << 30


@dataclass(frozen=True, slots=True)
class Plan:
    """What was built, and what was learnt about the speed of kernels meanwhile."""

    content: bytes
    timing_cache: bytes


def build_plan(
    trt: Any,
    onnx: bytes,
    rows: int,
    told: Told,
    *,
    settings: PlanSettings = PlanSettings(),
    timing_cache: bytes = b"",
) -> Plan:
    """Build a network for batches of exactly `rows`.

    trt: the module `tensorrt` or `tensorrt_rtx`. told: hears of the phases and of the part that is done.
    Raises BuildFailed: which node and operator the parser does not take, or what the builder said last.
    """
    log = collecting_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network()
    parser = trt.OnnxParser(network, log)
    told("parsing", 0.0)
    if not parser.parse(onnx):
        raise BuildFailed(f"the parser of {trt.__name__} {trt.__version__} does not take it: {_faults(parser, log)}")
    monitor = _monitor(trt, told)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TensorRT for RTX has a timing cache in name only
        config = _config(trt, builder, network, rows, settings, timing_cache)
        config.progress_monitor = monitor
        content = builder.build_serialized_network(network, config)
        if content is None:
            raise BuildFailed(f"{trt.__name__} {trt.__version__} does not build it for batches of {rows}: {log.last()}")
        learnt = config.get_timing_cache()
        told("done", 1.0)
        return Plan(bytes(content), b"" if learnt is None else bytes(learnt.serialize()))


def _config(trt: Any, builder: Any, network: Any, rows: int, settings: PlanSettings, timing_cache: bytes) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    flags = trt.BuilderFlag
    (config.set_flag if settings.tf32 else config.clear_flag)(flags.TF32)
    if settings.independent and hasattr(flags, "DISTRIBUTIVE_INDEPENDENCE"):
        config.set_flag(flags.DISTRIBUTIVE_INDEPENDENCE)
    if hasattr(flags, "REQUIRE_USER_ALLOCATION"):  # without it TensorRT for RTX cannot be captured into a graph
        config.set_flag(flags.REQUIRE_USER_ALLOCATION)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        source = network.get_input(index)
        shape = (rows, *tuple(source.shape)[1:])
        profile.set_shape(source.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    if (cache := config.create_timing_cache(timing_cache)) is not None:
        config.set_timing_cache(cache, False)  # one of another device is refused, and then none is used
    return config


def _faults(parser: Any, log: Any) -> str:
    """Say what the parser stumbled over: node, operator, reason."""
    said = []
    for index in range(parser.num_errors):
        fault = parser.get_error(index)
        name = fault.node_name() or f"number {fault.node()}"
        where = f"node {name} ({fault.node_operator()}): " if fault.node() >= 0 else ""
        said.append(f"{where}{' '.join(fault.desc().split())}")
    return "; ".join(said) or log.last()


def collecting_log(trt: Any) -> Any:
    """Return a logger for the library that prints nothing and keeps the last complaints; `last()` returns them."""

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps what the library complains about."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: deque[str] = deque(maxlen=_MESSAGES)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(" ".join(message.split()))

        def last(self) -> str:
            return "; ".join(self.errors) or "it does not say why"

    return Log()


def _monitor(trt: Any, told: Told) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Tells of the outermost phase; called from several threads of the library."""

        def __init__(self) -> None:
            super().__init__()
            self.outermost: tuple[str, int] = ("", 1)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self.outermost = (phase, max(1, steps))
                told(phase, 0.0)

        def step_complete(self, phase: str, step: int) -> bool:
            name, steps = self.outermost
            if phase == name:
                told(phase, min(1.0, (step + 1) / steps))
            return True

        def phase_finish(self, phase: str) -> None:
            pass

    return Monitor()
