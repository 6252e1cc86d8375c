"""ResNet-18 and ResNet-50 (He et al. 2015), as transformers has them."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from vla_ros.models.backbones import backbone
from vla_ros.models.config import VLAConfig
from vla_ros.models.vision.pixels import Normalise, places

# of ImageNet, which pretrained weights learned from
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
STRIDE = 32  # pixels of a cell's side


class ResNetVision(nn.Module):
    """pixels B x 3 x H x W in 0 … 1 -> tokens B x N x D; with `pooled` B x 1 x D.

    A token is a cell of the feature map, row by row. A cell is 32 x 32 pixels (the last of a row
    or column may reach over the edge) and knows where it lies. `grid` is (rows, columns), None
    with `pooled`. Options: `stem`, `sizes`, `depths` (defaults: those of the name), `pooled`,
    `weights` (a folder), `details` (of ResNetConfig).
    """

    place: Tensor

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        config = config.resolved()
        options = config.options("vision")
        name = config.vision
        self.pooled = options["pooled"]
        height, width = config.image_size
        grid = (-(-height // STRIDE), -(-width // STRIDE))  # rounded up
        self.grid = None if self.pooled else grid
        self.normalise = Normalise(MEAN, STD)
        sizes = ResNetConfig(
            embedding_size=options["stem"],
            hidden_sizes=list(options["sizes"]),
            depths=list(options["depths"]),
            layer_type="basic" if name == "resnet18" else "bottleneck",
            **options["details"],
        )
        self.model = backbone(ResNetModel, sizes, options["weights"], f"{name} vision")
        self.project = nn.Linear(options["sizes"][-1], config.width)
        self.norm = nn.LayerNorm(config.width)
        if not self.pooled:
            self.register_buffer("place", places(grid), persistent=False)  # N x 2
            self.where = nn.Linear(2, config.width)

    def forward(self, pixels: Tensor) -> Tensor:
        seen = self.model(self.normalise(pixels))
        if self.pooled:
            return self.norm(self.project(seen.pooler_output.flatten(1)))[:, None]
        cells = seen.last_hidden_state.flatten(2).transpose(1, 2)  # B x N x channels
        return self.norm(self.project(cells) + self.where(self.place))
