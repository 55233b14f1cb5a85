"""`actionwire worker`: frames topic to events topic, until it is told to stop."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.ingest import stop_on_signals
from pipeline.commands.options import Bootstrap, ConfigFile, settings_from
from pipeline.config.reading import source_file
from pipeline.config.settings import Settings
from pipeline.config.settings_file import FileWatch
from pipeline.errors import ActionwireError
from pipeline.worker.process import slot_of

if TYPE_CHECKING:
    from pipeline.commands.worker_processes import Place


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
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="Try the channel `worker.shadow`: its events go to a topic of their own."),
    ] = False,
    began: Annotated[
        Path | None, typer.Option("--began", hidden=True, help="Make this file once the bundle is loaded.")
    ] = None,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Turn frames into events. Start as many as you like: they share the partitions.

    On one machine each needs a port of its own: ACTIONWIRE_HTTP__WORKER_PORT=9403 actionwire worker. Or let one command
    run several: `worker.processes` in the settings, with the GPUs of `worker.devices`.

    Labels and priorities that are edited in the settings file take effect while it runs.

    The work is done in a child process, which is started again when it ends by itself.
    """
    from pipeline import logs
    from pipeline.worker.shadow.settings import shadow_settings

    def read() -> Settings:
        found = settings_from(config, bootstrap, worker={"bundle": bundle})
        return shadow_settings(found) if shadow else found

    file = source_file(config)
    watch = None if file is None or shadow else FileWatch(file, read)
    settings = read() if watch is None else watch.current
    logs.configure(settings.log.format, settings.log.level)
    stop = stop_on_signals()
    # Every child gets the same slot, so that it can abort at once the transaction that its predecessor left open.
    name = slot_of(settings, slot)
    if not no_supervise:
        from engines.backends.cpu_quota import usable_cpus
        from pipeline.commands.worker_processes import places, supervise_all

        def supervise_one(place: Place, stop: threading.Event) -> int:
            return _supervise(settings, _command(place.slot, bundle, config, bootstrap, shadow), place, stop)

        raise typer.Exit(supervise_all(places(settings, name, usable_cpus()), supervise_one, stop))

    from pipeline.broker import connect
    from pipeline.worker.process import run_worker

    with closing(connect(settings.kafka)) as broker:
        if shadow:
            from pipeline.broker.topics import apply_topics
            from pipeline.worker.shadow.broker import shadow_broker

            apply_topics(broker, settings)  # nobody else needs those of a shadow
            broker = shadow_broker(broker, settings.worker.shadow_share)
        run_worker(settings, broker, stop=stop, slot=name, reload=watch, started=lambda *_: _note(began))


def _supervise(settings: Settings, command: list[str], place: Place, stop: threading.Event) -> int:
    """Keep the worker of one place running; return its exit code once it has ended for good."""
    from pipeline import child_process
    from pipeline.commands.worker_processes import environment_of
    from pipeline.supervisor import supervise

    def free() -> None:
        _free(settings, place.slot)

    def start(what: Sequence[str]) -> subprocess.Popen[bytes]:
        return child_process.start(what, environment=environment_of(place))

    with tempfile.TemporaryDirectory(prefix="actionwire-") as folder:
        began = Path(folder) / "began"
        return supervise([*command, "--began", str(began)], stop, start=start, cut_off=free, began=began)


def _note(began: Path | None) -> None:
    """Tell the supervisor that the work begins."""
    if began is not None:
        began.touch()


def _free(settings: Settings, slot: str) -> None:
    """Let the other workers take over the partitions of a killed worker while the next one starts."""
    from pipeline.broker import connect

    with suppress(ActionwireError), closing(connect(settings.kafka)) as broker:
        broker.free(settings.worker.group, slot)


def _command(
    slot: str, bundle: str | None, config: Path | None, bootstrap: str | None, shadow: bool = False
) -> list[str]:
    file = config and str(config)
    options = {"--slot": slot, "--bundle": bundle, "--config": file, "--bootstrap": bootstrap}
    given = [part for name, value in options.items() if value for part in (name, value)]
    given += ["--shadow"] if shadow else []
    return [sys.executable, "-m", "pipeline.cli", "worker", "--no-supervise", *given]
