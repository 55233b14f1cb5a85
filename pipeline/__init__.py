"""The serving side of Actionwire: from camera to action event. Never imports torch."""
