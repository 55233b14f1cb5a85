"""Many cameras into the frames topic: sampled, scaled, as JPEG, newest first to be kept (ARCHITECTURE 2 and 7).

    ingest.py     the loop: send what waits; once a second look after cameras, statuses, end markers and settings
    feed.py       one camera: its reader, its JPEGs, and what of it has reached the broker
    hearing.py    what other processes say on the cameras topic
    reload.py     the settings file, looked at once a second
    outbox.py*    frames that wait for the broker, bounded per camera; drops the oldest
    ownership.py* which cameras are this process's, and who else publishes them
    statuses.py*  what the cameras topic is told, and when

Each camera's thread reads, scales, compresses and puts its frames into the outbox; one thread sends.
"""

from pipeline.ingest.service import Ingest, run_ingest
from pipeline.ingest.shard import Shard

__all__ = ["Ingest", "Shard", "run_ingest"]
