"""`actionwire worker`: frames topic to events topic, until it is told to stop."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.ingest import stop_on_signals
from pipeline.commands.options import Bootstrap, ConfigFile, settings_from
from pipeline.config.settings import Settings
from pipeline.errors import ActionwireError
from pipeline.worker.process import slot_of


def worker(
    no_supervise: Annotated[
        bool, typer.Option("--no-supervise", help="Run the work in this process: something else restarts it.")
    ] = False,
    slot: Annotated[
        str | None, typer.Option(help="Stable name of this worker, unique in its group; else made from the host.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Bundle to run: `demo`, a path, or a name in the store; wins over the settings.")
    ] = None,
    test_hook: Annotated[str | None, typer.Option(hidden=True, metavar="MODULE:FUNCTION")] = None,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Turn frames into events. Start as many as you like: they share the partitions.

    On one machine each needs a port of its own: ACTIONWIRE_HTTP__WORKER_PORT=9403 actionwire worker

    The work is done in a child process, which is started again when it ends unasked.
    """
    from pipeline import logs

    settings = settings_from(config, bootstrap, worker={"bundle": bundle})
    logs.configure(settings.log.format, settings.log.level)
    stop = stop_on_signals()
    # The child keeps its parent's name: a successor ends what its predecessor left unfinished at once.
    name = slot_of(settings, slot)
    if not no_supervise:
        from pipeline.supervisor import supervise

        def free() -> None:
            _free(settings, name)

        raise typer.Exit(supervise(_command(name, bundle, test_hook, config, bootstrap), stop, cut_off=free))

    from pipeline.broker import connect
    from pipeline.worker.process import run_worker
    from pipeline.worker.worker import no_failure

    with closing(connect(settings.kafka)) as broker:
        run_worker(settings, broker, stop=stop, slot=name, fail=_hook(test_hook) if test_hook else no_failure)


def _free(settings: Settings, slot: str) -> None:
    """Let the other workers take over what a killed one owned while the next is starting."""
    from pipeline.broker import connect

    with suppress(ActionwireError), closing(connect(settings.kafka)) as broker:
        broker.free(settings.worker.group, slot)


def _command(slot: str, bundle: str | None, hook: str | None, config: Path | None, bootstrap: str | None) -> list[str]:
    file = config and str(config)
    options = {"--slot": slot, "--bundle": bundle, "--config": file, "--bootstrap": bootstrap, "--test-hook": hook}
    given = [part for name, value in options.items() if value for part in (name, value)]
    return [sys.executable, "-m", "pipeline.cli", "worker", "--no-supervise", *given]


def _hook(name: str) -> Callable[[str], None]:
    module, _, function = name.partition(":")
    found: Callable[[str], None] = getattr(importlib.import_module(module), function)
    return found
