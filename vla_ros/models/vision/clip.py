"""CLIP's vision transformer (Radford et al. 2021), as transformers has it."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from vla_ros.models.backbones import backbone
from vla_ros.models.config import VLAConfig
from vla_ros.models.vision.pixels import Normalise

# of the images that CLIP learned from
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class ClipVision(nn.Module):
    """pixels B x 3 x H x W in 0 … 1 -> tokens B x N x D, one a patch, row by row.

    With `pooled` B x 1 x D of the whole image. `grid` is (rows, columns), None with `pooled`.
    Options: `hidden`, `layers`, `heads`, `feed_forward`, `patch` (defaults: ViT-B/32),
    `native_size` (side of the image in pixels that its places were learned for; they are
    interpolated for others), `pooled`, `weights` (a folder; its sizes are taken), `details` (of
    CLIPVisionConfig).
    """

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        config = config.resolved()
        options = config.options("vision")
        self.pooled = options["pooled"]
        height, width = config.image_size
        patch = options["patch"]
        self.grid = None if self.pooled else (height // patch, width // patch)
        self.normalise = Normalise(MEAN, STD)
        sizes = CLIPVisionConfig(
            hidden_size=options["hidden"],
            num_hidden_layers=options["layers"],
            num_attention_heads=options["heads"],
            intermediate_size=options["feed_forward"],
            patch_size=options["patch"],
            image_size=options["native_size"],
            **options["details"],
        )
        self.model = backbone(CLIPVisionModel, sizes, options["weights"], "clip vision")
        self.project = nn.Linear(options["hidden"], config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, pixels: Tensor) -> Tensor:
        seen = self.model(self.normalise(pixels), interpolate_pos_encoding=True)
        if self.pooled:
            tokens = seen.pooler_output[:, None]
        else:  # patches without the class token, normalised as that one is
            tokens = self.model.post_layernorm(seen.last_hidden_state[:, 1:])
        return self.norm(self.project(tokens))
