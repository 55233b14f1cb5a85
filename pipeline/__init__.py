"""The serving side of Actionwire: from camera to action event. Never imports torch."""

import engines as _engines  # noqa: F401 - it sets how large a picture OpenCV decodes, before OpenCV is loaded
