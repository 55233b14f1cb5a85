"""A camera by gst-rtsp-server, for the system's Python: gst_camera.py PORT FILE [USER PASSWORD].

Serves the H.264 of an MP4 file at /door, to everybody or with a digest login, and prints its port once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)
port, file, *login = sys.argv[1:]
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f'( filesrc location="{file}" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 )')
server.get_mount_points().add_factory("/door", factory)
if login:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    viewer = GstRtspServer.RTSPToken()
    viewer.set_string("media.factory.role", "viewer")
    auth.add_digest(login[0], login[1], viewer)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions.new()
    for what in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", what, True)
    factory.set_permissions(permissions)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
