"""One video source: RTSP camera, file or device, as sampled frames with capture times (ARCHITECTURE 3a to 3c).

source.py    PyAV: opens a source, yields decoded pictures, scales the sampled ones; the only part that blocks
faults.py    what went wrong, in words of ours and without credentials
placing.py*  which session and tick a picture belongs to, and when it was captured
health.py*   what is known of a camera at one moment
backoff.py*  how long to wait before the next attempt
sampling.py  sampled pictures of one open source, and of a whole file as fast as it decodes
reader.py    one thread per camera: connect, read, reconnect; the stall watchdog
checking.py  what a user must know before adding a camera
commands.py  actionwire camera check | serve

Nothing is imported here, so that the command line does not load PyAV to print its help.
"""
