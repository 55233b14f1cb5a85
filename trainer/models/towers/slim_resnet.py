"""Slim residual image towers, registered with timm so that open_clip builds them by name."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

_DEFAULTS = {
    "input_size": (3, 96, 128),
    "pool_size": (3, 4),
    "num_classes": 1000,
    "first_conv": "conv1",
    "classifier": "fc",
    "url": "",
}

_STEM = 16


class CentredResNet(ResNet):
    """A ResNet whose pooled features are normalised over the batch.

    Pooled activations are positive, so at the start all pictures point the same way (mean cosine 0.93) and a
    contrastive loss finds nothing to tell apart. At inference this is a fixed linear map.
    """

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.centre = nn.BatchNorm1d(self.num_features)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature maps [n, C, h, w] to features [n, C]."""
        return self.centre(super().forward_head(x, pre_logits))


def _residual(layers: tuple[int, ...], channels: tuple[int, ...], pretrained: bool, **settings: Any) -> CentredResNet:
    if pretrained:
        raise ValueError("there are no pretrained weights for this tower; it is trained from scratch")
    for name in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):  # passed by timm, of no use here
        settings.pop(name, None)
    # Blocks that start as identities (timm's default) leave a tower this slim without features for hundreds of steps.
    tower = CentredResNet(BasicBlock, layers=layers, channels=channels, zero_init_last=False, **settings)
    # Two strided convolutions in place of the 7x7 stem and its pooling: half of a slim tower's time went there, and a
    # single one of stride four loses limbs that are three pixels wide.
    tower.conv1 = nn.Sequential(
        nn.Conv2d(3, _STEM, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(_STEM),
        nn.ReLU(inplace=True),
        nn.Conv2d(_STEM, tower.bn1.num_features, kernel_size=3, stride=2, padding=1, bias=False),
    )
    for convolution in (tower.conv1[0], tower.conv1[3]):
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    tower.maxpool = nn.Identity()
    tower.default_cfg = tower.pretrained_cfg = dict(_DEFAULTS)
    return tower


@register_model
def actionwire_resnet(pretrained: bool = False, **settings: Any) -> CentredResNet:
    """1.7 M parameters; about 300 frames/s forward and backward on two cores at 96 x 96."""
    return _residual((1, 2, 2, 1), (32, 64, 128, 256), pretrained, **settings)


@register_model
def actionwire_resnet_wide(pretrained: bool = False, **settings: Any) -> CentredResNet:
    """Twice the width of the slim one at a third of the speed."""
    return _residual((2, 2, 2, 1), (64, 96, 192, 320), pretrained, **settings)
