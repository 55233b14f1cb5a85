"""An RTSP 1.0 server that plays files as cameras, in pure Python, with faults on demand.

It serves the demo, the tests, and users without a camera. Media travel inside the RTSP connection (TCP interleaved);
UDP is refused with 461. A path plays like a live camera, on a time line of its own that starts at a known wall-clock
instant, whoever is watching.

    with RtspServer() as server:
        mount = server.add("door", load_media(Path("door.mp4")))
        print(server.url("door"), mount.zero)
"""

from pipeline.local.rtsp.media import Media, load_media
from pipeline.local.rtsp.mount import Faults, Mount
from pipeline.local.rtsp.protocol import Login
from pipeline.local.rtsp.server import RtspServer

__all__ = ["Faults", "Login", "Media", "Mount", "RtspServer", "load_media"]
