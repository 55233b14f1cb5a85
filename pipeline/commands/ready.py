"""`actionwire ready`: the health check of a container or a supervisor."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipeline.commands.options import ConfigFile, Json, settings_from


def ready(
    worker: Annotated[bool, typer.Option("--worker", help="Only the worker.")] = False,
    ingest: Annotated[bool, typer.Option("--ingest", help="Only ingest.")] = False,
    as_json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Ask ingest and worker of this machine whether they do their work.

    Exit code 0: they do. 3: one does not, and a line says what is missing. It asks /ready at the ports of `http` in the
    settings. Neither option asks both.
    """
    from pipeline.one_machine.probe import not_ready

    http = settings_from(config).http
    ports = {"worker": http.worker_port, "ingest": http.ingest_port}
    chosen = [name for name, wanted in (("worker", worker), ("ingest", ingest)) if wanted] or list(ports)
    found = {name: not_ready(http.host, ports[name], name) for name in chosen}
    if as_json:
        typer.echo(
            json.dumps({name: {"ready": missing is None, "missing": missing} for name, missing in found.items()})
        )
    else:
        for name, missing in found.items():
            typer.echo(
                f"{name} is ready" if missing is None else f"{name} is not ready: {missing}", err=missing is not None
            )
    if any(missing is not None for missing in found.values()):
        raise typer.Exit(3)
