"""The commands of the serving side. Each reads the settings, calls one function and reports how it ended.

    exit code  0 done
               1 failed
               2 a person must change something: a setting, an argument, a credential, a worker's bundle
               3 something outside is not there at the moment: try again
               4 another process has taken this one's place
             130 interrupted

A command imports slow modules when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import importlib.metadata
import io
import sys
from typing import Annotated

import typer

from engines.errors import EngineError
from pipeline import logs
from pipeline.commands.broker import broker as broker_commands
from pipeline.commands.camera import app as camera_commands
from pipeline.commands.demo import demo
from pipeline.commands.evaluate import evaluate
from pipeline.commands.ingest import ingest
from pipeline.commands.labels import labels as label_commands
from pipeline.commands.replay import replay
from pipeline.commands.settings import settings
from pipeline.commands.status import status
from pipeline.commands.topics import topics
from pipeline.commands.watch import watch
from pipeline.commands.worker import worker
from pipeline.errors import ActionwireError, ConfigurationError, FencedError, TransientError, mask

app = typer.Typer(
    name="actionwire",
    help="Live cameras and a list of plain-text actions in, a trustworthy stream of action events out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (demo, ingest, worker, topics, settings, watch, status, replay, evaluate):
    app.command()(command)
app.add_typer(camera_commands, name="camera")
app.add_typer(label_commands, name="labels")
app.add_typer(broker_commands, name="broker")

EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ConfigurationError, 2),
    (TransientError, 3),
    (FencedError, 4),
    (ActionwireError, 1),
    (EngineError, 1),
)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"actionwire {importlib.metadata.version('actionwire')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def exit_code(error: BaseException) -> int:
    """The exit code of an error, by the table at the top of this module."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    # Whatever is logged before a command has read its settings must not end up in its output.
    logs.configure()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows few characters must not end a command
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (ActionwireError, EngineError) as error:
        typer.echo(f"error: {mask(str(error))}", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
