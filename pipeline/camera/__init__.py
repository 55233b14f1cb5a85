"""One video source as sampled frames with capture times: an RTSP camera, a file or a device (ARCHITECTURE 3a to 3c).

source_settings.py*  where a source is and how to read it
opening.py           opens a source with PyAV; a camera that refuses FFmpeg gets a second try
rtsp_relay.py        that second try: through this process, which logs in and hears what the camera answers
rtsp_login.py*       which challenge of a camera can be answered, and the answer
source.py            yields the decoded pictures of an open source
picture.py           a decoded picture in the shape of the scene: upright, with square pixels, scaled
errors.py            translates PyAV's errors into ours, without credentials
evidence.py*         what the time stamps of a connection are worth
capture_time.py*     the session, the tick and the capture time of a picture
file_time.py*        the time line of a file, where stamps begin anew or are missing
waiting.py*          how long a connection may stay without a usable picture
condition.py*        the state of a camera at one moment
backoff.py*          the wait before the next attempt
sampling.py          the sampled frames of one open source, and of a whole file as fast as it decodes
reader.py            one thread per camera: connect, read, reconnect; the stall watchdog
check.py             what a user must know before adding a camera

* pure; opening.py, rtsp_relay.py and source.py block. Nothing is imported here, so the command line can print its help
without loading PyAV.
"""
