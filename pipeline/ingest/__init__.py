"""Many cameras into the frames topic: sampled, scaled, compressed to JPEG (ARCHITECTURE 2 and 7).

service.py           the loop: send what waits; once a second check cameras, statuses, end markers and settings
feed.py              one camera: its reader, its JPEGs, and which of them have reached the broker
other_publishers.py  the statuses that other processes publish on the cameras topic
removed.py           cameras that left the settings: what the topics must say of them
outbox.py*           frames that wait for the broker, bounded per camera; the oldest go first
shard.py*            which cameras belong to this process
status.py*           the statuses that this process publishes: what they say, when one is due

* pure. Each camera's thread reads, scales, compresses and puts its frames into the outbox; one thread sends.
"""

from pipeline.ingest.service import Ingest, run_ingest
from pipeline.ingest.shard import Shard

__all__ = ["Ingest", "Shard", "run_ingest"]
