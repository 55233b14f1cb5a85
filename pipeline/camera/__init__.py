"""One video source as sampled frames with capture times: an RTSP camera, a file or a device (ARCHITECTURE 3a to 3c).

source.py         opens a source with PyAV, yields decoded pictures and scales the sampled ones; only this part blocks
errors.py         translates PyAV's errors into ours, without credentials
capture_time.py*  the session, the tick and the capture time of a picture
condition.py*     the state of a camera at one moment
backoff.py*       the wait before the next attempt
sampling.py       the sampled frames of one open source, and of a whole file as fast as it decodes
reader.py         one thread per camera: connect, read, reconnect; the stall watchdog
check.py          what a user must know before adding a camera

* pure. Nothing is imported here, so the command line can print its help without loading PyAV.
"""
