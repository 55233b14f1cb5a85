"""The protocols by which the papers measure, each for a run that was trained on clips."""
