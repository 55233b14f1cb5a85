"""The bundle: the one artefact that is trained, exported, stored and served."""
