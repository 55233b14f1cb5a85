"""How a pair of towers is built again without the files that it came from; checkpoints carry it."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.bundle.manifest import Input
from trainer.recipes.part import Part, Positive

if TYPE_CHECKING:
    from trainer.models.video_text import Clip


class Blueprint(Part):
    """The architecture of two towers, and how pictures reach them."""

    name: str
    """Of the image tower, for the manifest."""
    pretrained: str | None = None
    """Whose weights the training began with; None for random ones."""
    form: Input
    dimensions: Positive
    """D, the width of the joint space."""
    config: dict[str, Any]
    """open_clip's configuration of the model."""
    text_config: dict[str, Any] | None = None
    """Hugging Face's configuration of the text tower, where it is one of theirs."""
    features: Positive | None = None
    """Width of the image tower's output where a projection of our own brings it to D; None where the tower does."""
    channels_stay: bool = False
    """Whether that is no projection: features become items one by one, and are only centred and scaled."""

    def build(self) -> Clip:
        """The towers with random weights; torch's random state decides them. Raises what timm and open_clip raise."""
        import open_clip

        from trainer.models.towers import slim_resnet  # noqa: F401  registers our towers with timm

        config = copy.deepcopy(self.config)
        custom = config.pop("custom_text", False) or self.text_config is not None
        kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
        if "multimodal_cfg" in config:
            kind = open_clip.CoCa
        with tempfile.TemporaryDirectory() as folder:
            if self.text_config is not None:
                Path(folder, "config.json").write_text(json.dumps(self.text_config), "utf-8")
                config["text_cfg"] |= {"hf_model_name": folder, "hf_model_pretrained": False}
            clip: Clip = kind(**config)
        return clip
