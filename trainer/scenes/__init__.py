"""Rendered surveillance scenes whose truth is known exactly: numpy and OpenCV, no torch.

A *scene* is pure data drawn from a seed; frames and truth follow from it, the same for the same seed.

    from trainer.scenes.picture.render import render
    from trainer.scenes.script import draw_clip, draw_stream

    scene = draw_stream(seed=7, seconds=60.0)                   # a camera: idle gaps, approaches, actions
    scene = draw_clip(seed=7, action="kick", seconds=2.5)       # one action that fills the middle of a short scene
    scene = draw_clip(seed=7, action=None)                      # a clip that shows none of the actions
    frames = render(scene, times, size=(160, 120))              # uint8 [n, 120, 160, 3] RGB at any instants (seconds)
    scene.events                                                # Event(key, label, start, end, actors, people)

A scene's picture is 4:3; another aspect stretches it, so a square model input needs no crop. `picture.encode.compress`
damages frames as serving's video and JPEG would. `commands.renderer_version()` changes with this source: caches use it.

Splits (`vocabulary.split_of`): seeds 0-9999 train, 10000-19999 validate, 20000 and above tests and demo. Scenes of a
train seed never show a held-out pair of `vocabulary.HELD_OUT` unless asked for (`pairs="unseen"` or `"all"`).
"""
