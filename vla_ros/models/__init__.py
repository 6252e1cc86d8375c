"""torch: the parts of a Vision-Language-Action model and whole models. Adding a part is a class and a line here.

Every part is built from a `VLAConfig` alone and usable alone. Shapes: B batch, H x W pixels, N vision tokens, L words,
D `config.width`, S state features, T rows of a chunk, C channels.
"""
from __future__ import annotations

VISION = {
    "small": "vla_ros.models.vision_small:SmallVision",
}
LANGUAGE = {
    "small": "vla_ros.models.language_small:SmallLanguage",
}
FUSION = {
    "grounded": "vla_ros.models.fusion_grounded:GroundedFusion",
}
HEADS = {
    "decoder": "vla_ros.models.decoder:ActionDecoder",
}
