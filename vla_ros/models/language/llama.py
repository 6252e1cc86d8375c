"""Llama (Touvron et al. 2023), as transformers has it: what the camera saw, then the words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from vla_ros.models.backbones import backbone
from vla_ros.models.config import VLAConfig
from vla_ros.models.masks import spread


class LlamaLanguage(nn.Module):
    """ids, mask B x L, vision B x N x D or None -> words B x L x D and pooled B x D.

    The pooled one is that of the last true word. Llama reads: begin, `<VISION>`, the N vision
    tokens in its embedding space, `</VISION>`, the words; without vision: begin, the words. ids
    hold the words alone. (Adding projected vision to hidden states, as some sketches do, would
    need as many words as vision tokens; as tokens of their own, both keep their length.) Options:
    `vocabulary`, `hidden`, `layers`, `heads`, `kv_heads`, `feed_forward` (defaults: Llama-2-7B),
    `begin` (its first token), `dtype`, `weights` (a folder; its sizes are taken), `details` (of
    LlamaConfig).
    """

    reads_vision = True

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        config = config.resolved()
        options = config.options("language")
        hidden = options["hidden"]
        sizes = LlamaConfig(
            vocab_size=options["vocabulary"],
            hidden_size=hidden,
            num_hidden_layers=options["layers"],
            num_attention_heads=options["heads"],
            num_key_value_heads=options["kv_heads"],
            intermediate_size=options["feed_forward"],
            bos_token_id=options["begin"],
            **options["details"],
        )
        self.model = backbone(
            LlamaModel,
            sizes,
            options["weights"],
            "llama language",
            getattr(torch, options["dtype"]),
        )
        self.begin = options["begin"]
        # <VISION> and </VISION>. Beside Llama's own table, so that they learn while the table is
        # frozen; 0.02 is how far its embeddings begin from 0.
        self.marks = nn.Parameter(0.02 * torch.randn(2, hidden))
        self.look = nn.Linear(config.width, hidden)
        self.project = nn.Linear(hidden, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self, ids: Tensor, mask: Tensor, vision: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        table = self.model.embed_tokens
        batch = ids.shape[0]
        before = [table(ids.new_full((batch, 1), self.begin))]
        if vision is not None:
            # B x 1 x hidden each
            marks = self.marks.to(table.weight.dtype)[:, None].expand(2, batch, -1)
            opening, closing = marks.unsqueeze(2)
            seen = self.look(spread(vision, ids)).to(table.weight.dtype)
            before += [opening, seen, closing]
        prefix = torch.cat(before, 1)
        first = prefix.shape[1]
        true = torch.cat([mask.new_ones(batch, first), mask], 1)
        read = self.model(
            inputs_embeds=torch.cat([prefix, table(ids)], 1),
            attention_mask=true.long(),
            use_cache=False,
            position_ids=(true.long().cumsum(1) - 1),  # padding takes no place
        ).last_hidden_state
        words = self.norm(self.project(read.to(self.norm.weight.dtype)))
        # where there is no word, the last token before them
        last = (first - 1 + mask.sum(1))[:, None, None].expand(-1, 1, words.shape[-1])
        return words[:, first:], words.gather(1, last).squeeze(1)
