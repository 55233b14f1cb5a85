"""Classes that were never trained, recognised from a few examples (CLIP-FSAR, section 4.1)."""

from __future__ import annotations

from trainer.errors import RecipeError
from trainer.protocols.subject import Outcome, Settings, Subject
from trainer.training.clips import opened
from trainer.training.episode_source import episode_report, seen_by


def episodes(subject: Subject, settings: Settings) -> Outcome:
    """Accuracy over 10 000 episodes of the classes to test, always beside the text alone and plain cosines.

    The ensemble's beta comes from the classes to validate. Raises RecipeError for runs and lists without.
    """
    recipe, model = subject.recipe, subject.model
    if settings.lists:
        raise RecipeError(
            "episodes are of the run's own list, whose classes to test were never trained; leave out --list"
        )
    clips = opened(recipe, model.blueprint.form, subject.cache, subject.report, between=False)
    for split in ("validate", "test"):
        if not clips.of(split):
            raise RecipeError(
                f"episodes are of classes with clips of the split {split}, and the list has none; add some"
            )
    seen = seen_by(model, clips, recipe, ("validate", "test"), subject.cache, subject.report)
    rows = {
        f"{shots} shots": episode_report(
            model, seen, recipe, "test", tuned_on="validate", shots=shots, count=settings.episodes
        )
        for shots in settings.shots
    }
    return Outcome({f"{name.split()[0]}_shots": row["episodes_ensemble"] for name, row in rows.items()}, rows=rows)
