"""Examples between a person and the model: pictures of an action on their way into scores.

sampling   a clip or a stretch of a camera as an example; what cannot be one is refused
topic      written, found and taken back
encoding   what a worker's engine makes of them, kept while a label names them
"""
