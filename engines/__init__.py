"""Bundles and the engines built from them: all between pixels and embeddings. Imports neither pipeline nor trainer."""

import os

MAX_PIXELS = 64_000_000
"""Pixels of the largest picture that is decoded: a small file can claim gigabytes."""

# OpenCV reads this once, when it is loaded: a second lock behind the check of each picture's own header.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
