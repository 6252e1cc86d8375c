"""torch: the parts of a Vision-Language-Action model, and whole models.

Adding a part is a class and a line here. Every part is built from a `VLAConfig` alone and usable
alone; its options are a line each in options.py. Shapes: B batch, H x W pixels, N vision tokens,
L words, D `config.width`, S state features, T rows of a chunk, C channels, F features. Masks are
true at words; words come first, padding behind them. There may be several instructions an image:
what stems from words then has a whole multiple of B rows, image by image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vla_ros.core.registry import lookup

if TYPE_CHECKING:
    from vla_ros.models.config import VLAConfig
    from vla_ros.models.vla import VLA

VISION = {
    "small": "vla_ros.models.vision.small:SmallVision",
    "clip": "vla_ros.models.vision.clip:ClipVision",
    "resnet18": "vla_ros.models.vision.resnet:ResNetVision",
    "resnet50": "vla_ros.models.vision.resnet:ResNetVision",
}
LANGUAGE = {
    "small": "vla_ros.models.language.small:SmallLanguage",
    "table": "vla_ros.models.language.small:TableLanguage",
    "lstm": "vla_ros.models.language.lstm:LSTMLanguage",
    "llama": "vla_ros.models.language.llama:LlamaLanguage",
    "static": "vla_ros.models.language.static:StaticLanguage",
    "minilm": "vla_ros.models.language.minilm:MiniLMLanguage",
}
FUSION = {
    "grounded": "vla_ros.models.fusion.grounded:GroundedFusion",
    "early": "vla_ros.models.fusion.early:EarlyFusion",
    "late": "vla_ros.models.fusion.late:LateFusion",
    "cross_attention": "vla_ros.models.fusion.cross:CrossAttentionFusion",
    "transformer": "vla_ros.models.fusion.transformer:TransformerFusion",
}
HEADS = {
    "decoder": "vla_ros.models.heads.action_decoder:ActionDecoder",
    "planner": "vla_ros.models.heads.planner:Planner",
}
MODELS = {
    "end_to_end": "vla_ros.models.vla:VLA",
    "modular": "vla_ros.models.modular:ModularVLA",
    "table": "vla_ros.models.table:TableVLA",
}
PACKED = ("int8", "int4")  # how weights may be kept
# static: as they are, to be run at int8 by an engine that was calibrated
QUANTIZATIONS = ("none", *PACKED, "static")
TOKENIZERS = {  # by language encoder
    "small": "vla_ros.models.language.tokenizers:LexiconTokenizer",
    "table": "vla_ros.models.language.tokenizers:TableTokenizer",
    "lstm": "vla_ros.models.language.tokenizers:WordTokenizer",
    "llama": "vla_ros.models.language.tokenizers:LlamaTokenizer",
    "static": "vla_ros.models.language.word_pieces:StaticTokenizer",
    "minilm": "vla_ros.models.language.word_pieces:MiniLMTokenizer",
}


def build(config: VLAConfig) -> VLA:
    """The whole model that the config describes.

    Its weights are random, but for the parts that name a folder of them.
    """
    model: VLA = lookup(MODELS, config.model, "model")(config)
    if config.quantization in PACKED:
        from vla_ros.models.quantized import quantize_weights

        quantize_weights(model, config.quantization)
    return model
