"""From the records of a partition, in offset order, to events: windows, scores, event machines. Pure."""
