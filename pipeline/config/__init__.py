"""Settings: one frozen tree, one file per section. Nothing else in serving reads the settings file or the environment.

    actionwire.yaml                        environment (wins)
    ---------------                        ------------------
    kafka:                                 ACTIONWIRE_KAFKA__BOOTSTRAP=broker:9092
      bootstrap: broker:9092               ACTIONWIRE_KAFKA__PASSWORD=...
    cameras:
      front-door:
        url: rtsp://viewer:${DOOR_PASSWORD}@10.0.0.7/stream1
    labels:
      - a person falls down

`settings` is the tree, `reading` reads it, `reference` prints every key. `${NAME}` in a camera's url is replaced from
the environment, so a password need not stand in the file. Before the `@` it is percent-encoded: the variable holds the
password as a person types it. `engines.folders` decides where a user's own folders lie, because the trainer uses them
too.
"""
