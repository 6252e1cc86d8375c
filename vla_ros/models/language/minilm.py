"""all-MiniLM-L6-v2: a pretrained sentence encoder (Wang et al. 2020; Reimers and Gurevych 2019)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vla_ros.models.backbones import RandomWeights
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.encoder_layer import EncoderLayer
from vla_ros.models.language.read_out import ReadOut
from vla_ros.models.language.word_sources import WEIGHTS, minilm_folder

# A layer's part -> its name in the file.
_PARTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}


class MiniLM(nn.Module):
    """ids, mask B x L of pieces, the marks around them included -> hidden B x L x H.

    The encoder alone, as its weights were published: the mean over true pieces is their sentence.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        hidden = options["hidden"]
        epsilon = options["details"].get("layer_norm_eps", 1e-12)
        self.pieces = nn.Embedding(options["vocabulary"], hidden)
        self.places = nn.Parameter(0.02 * torch.randn(options["places"], hidden))
        self.norm = nn.LayerNorm(hidden, epsilon)
        self.layers = nn.ModuleList(
            EncoderLayer(hidden, options["heads"], options["feed_forward"], epsilon)
            for _ in range(options["layers"])
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        words = self.norm(self.pieces(ids) + self.places[: ids.shape[1]])
        for layer in self.layers:
            words = layer(words, mask)
        return words

    def load(self, path: Path) -> None:
        """From a file of BertModel's. Raises ValueError where it is none, or of another size."""
        try:
            theirs = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"minilm language's weights {path} do not load: {error}") from error
        try:
            self.load_state_dict(self._named(theirs))
        except (KeyError, RuntimeError) as error:
            message = " ".join(str(error).split())[:300]
            raise ValueError(
                f"minilm language's weights {path} are of another model: {message}"
            ) from error

    def _named(self, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Its tensors by our names."""
        # a sentence has one part here, so its kind is a constant of every place
        kind = theirs["embeddings.token_type_embeddings.weight"][0]
        ours = {
            "pieces.weight": theirs["embeddings.word_embeddings.weight"],
            "places": theirs["embeddings.position_embeddings.weight"] + kind,
        }
        for tensor in ("weight", "bias"):
            ours[f"norm.{tensor}"] = theirs[f"embeddings.LayerNorm.{tensor}"]
            for number in range(len(self.layers)):
                for part, name in _PARTS.items():
                    place = f"encoder.layer.{number}.{name}.{tensor}"
                    ours[f"layers.{number}.{part}.{tensor}"] = theirs[place]
        return ours


class MiniLMLanguage(nn.Module):
    """ids, mask B x L (words first, padding behind them) -> words B x L x D and pooled B x D.

    The encoder reads: begin, the pieces, end; ids hold the pieces alone. It is frozen unless
    `trained`; what is read out of it learns. Options: `weights` (the installed package's name, a
    folder as transformers saves a BertModel with its vocab.txt, or nothing for random ones),
    `vocabulary`, `hidden`, `layers`, `heads`, `feed_forward`, `places`, `begin` and `end` (its
    sizes, and the ids of its marks; a folder's are taken), `questions`, `trained`, `details`.
    """

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        config = config.resolved()
        options = config.options("language")
        self.begin = options["begin"]
        self.end = options["end"]
        self.model = MiniLM(options)
        if not options["weights"]:
            warnings.warn(
                "minilm language starts from random weights; name a folder of pretrained ones in "
                "its option `weights`",
                RandomWeights,
                stacklevel=2,
            )
        else:
            self.model.load(minilm_folder(options["weights"]) / WEIGHTS)
        self.model.requires_grad_(options["trained"])
        self.read_out = ReadOut(options["hidden"], config.width, options["questions"])

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        around, true = self.marked(ids, mask)
        words, pooled = self.read_out(self.model(around, true), true)
        return words[:, 1:-1], pooled

    def marked(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and mask B x L of pieces -> B x L + 2 with begin before and end behind the last."""
        batch = ids.shape[0]
        before = ids.new_full((batch, 1), self.begin)
        behind = ids.new_full((batch, 1), 0)
        around = torch.cat([before, ids, behind], 1)
        place = torch.arange(around.shape[1], device=ids.device)
        last = mask.sum(1, keepdim=True) + 1
        return torch.where(place == last, self.end, around), place <= last
