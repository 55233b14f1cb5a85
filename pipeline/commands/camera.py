"""`actionwire camera check | serve`: check a camera before adding it, or play a file as one."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.commands.options import ConfigFile, Json, settings_from
from pipeline.config.cameras import CameraSettings
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.camera.check import CheckReport
    from pipeline.local.rtsp import Login

app = typer.Typer(name="camera", help="Check a camera before adding it, or play a file as one.", no_args_is_help=True)


@app.command("check")
def check_command(
    camera: Annotated[
        str, typer.Argument(help="rtsp://..., a file, /dev/videoN, or the id of a camera in the settings.")
    ],
    seconds: Annotated[float, typer.Option(help="How long to watch.", min=1.0, max=600.0)] = 10.0,
    transport: Annotated[Literal["tcp", "udp"] | None, typer.Option(help="RTSP over tcp (default) or udp.")] = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Watch a camera and report what matters before adding it: codec, size, fps, key pictures, clock, latency, faults.

    Exit code 0: usable. 1: it opened, and then failed or gave no picture. 2: it refuses login, path or transport.
    3: it does not answer. A password may stand in the url as ${NAME} in single quotes; it is read from the environment.
    """
    from pipeline.camera.check import check
    from pipeline.camera.source_settings import SourceSettings

    settings = settings_from(config)
    chosen = _camera(settings, camera, transport)
    ingest = settings.ingest
    source = SourceSettings(
        chosen.url.get_secret_value(),
        chosen.transport,
        ingest.open_seconds,
        ingest.stall_seconds,
        ingest.short_side,
        ingest.key_picture_seconds,
    )
    if not as_json:
        typer.echo(f"watching {source.where} for {seconds:g} s ...", err=True)
    report = check(source, seconds, ingest.clock_tolerance_seconds)
    typer.echo(json.dumps(report.document()) if as_json else "\n".join(_lines(report)))
    if report.fault or not report.pictures:
        raise typer.Exit(1)


def _camera(settings: Settings, camera: str, transport: Literal["tcp", "udp"] | None) -> CameraSettings:
    """The camera of this id, or one made from a url. Raises ConfigurationError."""
    found = settings.cameras.get(camera)
    if found is None:
        url = f"./{camera}" if Path(camera).is_file() and not Path(camera).is_absolute() else camera
        try:
            found = CameraSettings.model_validate({"url": url})
        except ValueError as error:  # the text of the error would show the url
            reason = str(error).split("Value error, ")[-1].split(" [type=")[0]
            raise ConfigurationError(f"cannot check this camera: {reason}") from None
    return found if transport is None else found.model_copy(update={"transport": transport})


def _lines(report: CheckReport) -> list[str]:
    """The report for a person: one line each, then the remarks."""

    def figure(value: float | None, unit: str, nothing: str = "unknown") -> str:
        return nothing if value is None else f"{value:g} {unit}"

    clock = {"rtcp": "the camera's own, from RTCP sender reports", "arrival": "time of arrival", None: "none, a file"}
    rows = {
        "source": report.source,
        "codec": report.codec,
        "size": f"{report.width} x {report.height}" if report.width else "unknown",
        "frames a second": figure(report.fps, ""),
        "key picture every": figure(report.key_interval, "s", "fewer than two seen"),
        "opened after": figure(report.opened_after, "s"),
        "first picture after": figure(report.first_picture_after, "s", "none came"),
        "clock": clock[report.clock],
        "clock offset": figure(report.clock_offset, "s", "no sender reports"),
        "latency": figure(report.latency, "s", "unknown without sender reports"),
        "jitter": figure(report.jitter, "s"),
        "longest gap": figure(report.longest_gap, "s"),
        "pictures": f"{report.pictures}, {report.corrupt} damaged, {report.untimed} without a time stamp",
    }
    width = max(map(len, rows))
    return [f"{name:<{width}}  {value.rstrip()}" for name, value in rows.items()] + [
        f"! {remark}" for remark in report.remarks
    ]


@app.command()
def serve(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Video files; each becomes a camera.")],
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.", min=0, max=65535)] = 8554,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    path: Annotated[str | None, typer.Option(help="Path of the only file; the file's name otherwise.")] = None,
    login: Annotated[
        str | None,
        typer.Option(envvar="ACTIONWIRE_CAMERA_LOGIN", help="Require this user:password; best set in the environment."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Play each file once, starting with the first viewer.")] = False,
) -> None:
    """Play files as RTSP cameras over TCP, with sender reports, until Ctrl-C."""
    from pipeline.local.rtsp import RtspServer, load_media

    if path and len(files) > 1:
        raise ConfigurationError("--path names one camera, but several files were given; leave it out")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with RtspServer(host, port) as server:
        for file in files:
            name = path or file.stem.replace(" ", "-")
            if server.mount(name):
                raise ConfigurationError(f"two files would be camera {name!r}; rename one, or serve each on its own")
            server.add(name, load_media(file), passes=1 if once else None, login=_login(login))
            typer.echo(server.url(name, login=False))
        typer.echo("playing; " + ("a login is asked for; " if login else "") + "Ctrl-C ends it", err=True)
        while not stop.wait(0.5):
            pass


def _login(text: str | None) -> Login | None:
    from pipeline.local.rtsp import Login

    if text is None:
        return None
    user, separator, password = text.partition(":")
    if not (user and separator and password):
        raise ConfigurationError("--login must be user:password")
    return Login(user, password)
