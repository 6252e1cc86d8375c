"""Writes test/unit/lerobot_act: what LeRobot's own ACT says to made-up observations. Run in LeRobot's environment:

python3.12 -m venv build/interop/lerobot && build/interop/lerobot/bin/pip install lerobot==0.6.1
build/interop/lerobot/bin/python test/interop/lerobot_act.py

Its weights are not kept: act_numbers.py makes them anew.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies import make_pre_post_processors
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import act_numbers as numbers

OUT = Path(__file__).parents[1] / "unit" / "lerobot_act"


def config():
    inputs = {}
    for camera in numbers.CAMERAS:
        inputs[f"observation.images.{camera}"] = PolicyFeature(FeatureType.VISUAL, (3, *numbers.SIZE))
    inputs["observation.state"] = PolicyFeature(FeatureType.STATE, (6,))
    return ACTConfig(
        input_features=inputs,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
        device="cpu",
        push_to_hub=False,
        pretrained_backbone_weights=None,
        chunk_size=numbers.ROWS,
        n_action_steps=numbers.ROWS,
        dim_model=32,
        n_heads=4,
        dim_feedforward=64,
        n_encoder_layers=2,
        n_vae_encoder_layers=1,
        latent_dim=8,
    )


def main():
    policy = ACTPolicy(config()).eval()
    weights = {}
    for name, tensor in policy.state_dict().items():
        weights[name] = torch.from_numpy(numbers.weight(name, tuple(tensor.shape)))
    policy.load_state_dict(weights)
    statistics = {}
    for name, entry in numbers.statistics().items():
        statistics[name] = {key: torch.from_numpy(value) for key, value in entry.items()}
    before, after = make_pre_post_processors(policy.config, dataset_stats=statistics)
    OUT.mkdir(exist_ok=True)
    policy.config._save_pretrained(OUT)
    before.save_pretrained(OUT)
    after.save_pretrained(OUT)
    chunks = []
    for index in range(numbers.OBSERVATIONS):
        images, joints = numbers.observation(index)
        seen = {"observation.state": torch.from_numpy(joints)}
        for camera, image in images.items():
            pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255.0
            seen[f"observation.images.{camera}"] = pixels
        with torch.inference_mode():
            chunk = after(policy.predict_action_chunk(before(seen)))
        chunks.append(np.asarray(chunk)[0].tolist())
    names = {name: list(tensor.shape) for name, tensor in weights.items()}
    (OUT / "weights.json").write_text(json.dumps(names))
    (OUT / "chunks.json").write_text(json.dumps(chunks))
    print(f"{OUT}: {sum(path.stat().st_size for path in OUT.iterdir())} bytes")


if __name__ == "__main__":
    main()
