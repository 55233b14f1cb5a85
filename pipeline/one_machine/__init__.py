"""All processes on one machine, as `actionwire up` and the demo run them: started, followed and ended in order."""
