"""Examples between a person and the model: pictures of an action on their way into scores.

sampling   a clip or a stretch of a camera as an example; what cannot be one is refused
recorded   the stretch, from what the cluster still holds: by a camera's time, or by an event
topic      written, found and taken back
encoding   what a worker's engine makes of them, kept while a label names them
left_out   each example as if it had not been shown
export     labelled clips for the trainer
"""
