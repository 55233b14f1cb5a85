"""What a user wants to know about a bundle before running it: its contents, its integrity, the backends that run it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from engines.backends import BACKENDS, open_engine
from engines.bundle.files import Bundle
from engines.errors import BackendUnavailable, EngineError
from engines.probe import probe
from engines.text.text_bank import TextEncoder


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """The outcome of the golden probe on one backend: differences by stage, or the reason why there are none."""

    differences: dict[str, float]
    unavailable: str | None = None
    """Why the backend could not be tried, which is no fault of the bundle."""
    failure: str | None = None
    """What is wrong with the outputs or with the network."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A loaded bundle, whose hashes therefore match, with its probes."""

    bundle: Bundle
    sizes: dict[str, int]
    """Bytes by file."""
    references: dict[str, int]
    """Number of reference texts by kind."""
    probes: dict[str, ProbeOutcome]
    """Outcome by backend, and under `text` for the text network."""

    @property
    def failed(self) -> bool:
        """True when a probe failed."""
        return any(outcome.failure for outcome in self.probes.values())

    def data(self) -> dict[str, Any]:
        """Return the inspection as plain JSON data."""
        return {
            "path": str(self.bundle.path),
            "verified": True,
            "sealed": self.bundle.manifest.sealed,
            "calibrated": self.bundle.manifest.events.calibrated,
            "bytes": sum(self.sizes.values()),
            "sizes": self.sizes,
            "references": self.references,
            "probes": {name: asdict(outcome) for name, outcome in self.probes.items()},
            "manifest": self.bundle.manifest.data(),
        }

    def text(self) -> str:
        """Return the inspection as lines for a terminal."""
        manifest = self.bundle.manifest
        encoder, head, form = manifest.encoder, manifest.head, manifest.input
        score, made = manifest.score, manifest.producer
        seconds = manifest.window.frames / manifest.window.rate
        calibrated = "calibrated" if manifest.events.calibrated else "NOT calibrated: thresholds are guesses"
        counts = ", ".join(f"{count} {kind}" for kind, count in self.references.items())
        lines = [
            f"{self.bundle.label}  {self.bundle.path}",
            f"  id          {manifest.id}" + ("" if manifest.sealed else "  (not sealed)"),
            f"  kind        {manifest.kind}: {encoder.architecture} ({encoder.parameters:,} parameters), "
            f"head {head.architecture} ({head.parameters:,})",
            f"  input       {form.width} x {form.height}, {form.resize}, {form.crop}",
            f"  window      {manifest.window.frames} frames at {manifest.window.rate} per second ({seconds:g} s)",
            *self._memory(),
            f"  space       {manifest.space.id}, {manifest.space.dimensions} dimensions",
            f"  score       {score.function}, scale {score.logit_scale:g}, temperature {score.temperature:g}, "
            f"{len(score.templates)} templates",
            f"  references  {counts}",
            f"  events      {calibrated}",
            f"  licence     {manifest.licence}",
            f"  made by     actionwire {made.actionwire}, {made.recipe}, seed {made.seed}",
            "  files       every sha256 matches the manifest",
        ]
        lines += [f"    {size:>12,}  {name}" for name, size in self.sizes.items()]
        lines.append(f"    {sum(self.sizes.values()):>12,}  in all")
        lines += [f"  probe       {name:<12} {_probe_text(outcome)}" for name, outcome in self.probes.items()]
        return "\n".join(lines)

    def _memory(self) -> list[str]:
        memory = self.bundle.manifest.memory
        if memory is None:
            return []
        size = 4 * sum(math.prod(shape) for shape in memory.shapes)
        return [f"  memory      {memory.history} frames back, {size / 2**10:,.0f} KiB a camera"]


def inspect(bundle: Bundle) -> Inspection:
    """Run the golden probe of a loaded bundle on every backend, and collect everything worth knowing."""
    names = ("bundle.json", *bundle.manifest.file_names)
    kinds = bundle.references().kinds
    return Inspection(
        bundle=bundle,
        sizes={name: (bundle.path / name).stat().st_size for name in names},
        references={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        probes={name: _probe_backend(name, bundle) for name in BACKENDS} | {"text": _probe_text_network(bundle)},
    )


def _probe_backend(name: str, bundle: Bundle) -> ProbeOutcome:
    try:
        engine = open_engine(bundle, name)
        found = probe(engine, bundle)
        engine.close()
    except BackendUnavailable as error:
        return ProbeOutcome({}, unavailable=str(error))
    except EngineError as error:
        return ProbeOutcome({}, failure=str(error))
    return ProbeOutcome(asdict(found))


def _probe_text_network(bundle: Bundle) -> ProbeOutcome:
    try:
        encoder = TextEncoder(bundle)
        difference = encoder.probe()
        encoder.close()
    except EngineError as error:
        return ProbeOutcome({}, failure=str(error))
    return ProbeOutcome({"text": difference})


def _probe_text(outcome: ProbeOutcome) -> str:
    if outcome.failure:
        return f"FAILED: {outcome.failure}"
    if outcome.unavailable:
        return f"not available: {outcome.unavailable}"
    return "passes, off by " + ", ".join(f"{stage} {value:.1e}" for stage, value in outcome.differences.items())
