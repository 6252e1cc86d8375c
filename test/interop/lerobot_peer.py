"""LeRobot's own side, run by lerobot_sidecar.py in LeRobot's environment.

lerobot_peer.py OUT writes tiny random checkpoints as `lerobot-train` leaves them, a dataset's info.json, observations,
and what LeRobot's own loop (select_action at every step) does with them. lerobot_peer.py OUT act_default: one alone.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig
from lerobot.policies import get_policy_class, make_pre_post_processors
from lerobot.policies.factory import make_policy_config
from lerobot.policies.utils import prepare_observation_for_inference

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
SIZE = (96, 96)
FPS = 10
STEPS = 12  # of the loop
SEED = 5  # of each chunk's noise
PROMPT = "pick up the red cube"


def feature(camera):
    """The one camera of tdmpc has no name of its own."""
    return "observation.image" if camera == "image" else f"observation.images.{camera}"


def features(cameras):
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (6,))}
    for camera in cameras:
        inputs[feature(camera)] = PolicyFeature(FeatureType.VISUAL, (3, *SIZE))
    outputs = {"action": PolicyFeature(FeatureType.ACTION, (6,))}
    return {"input_features": inputs, "output_features": outputs, "device": "cpu", "push_to_hub": False}


def configs(local):
    """Type -> its config, or the reason why there is none. Each predicts anew after four steps at most."""
    no_weights = {"pretrained_backbone_weights": None}
    yield "diffusion", lambda: make_policy_config(
        "diffusion", **features(["front", "wrist"]), **no_weights, n_obs_steps=2, horizon=8, n_action_steps=4,
        down_dims=(32, 64), n_groups=4, diffusion_step_embed_dim=16, spatial_softmax_num_keypoints=8,
        num_inference_steps=3, crop_shape=(84, 84))
    yield "vqbet", lambda: make_policy_config(
        "vqbet", **features(["front"]), **no_weights, n_obs_steps=3, action_chunk_size=4, gpt_input_dim=32,
        gpt_output_dim=32, gpt_hidden_dim=32, gpt_n_layer=2, gpt_n_head=4, vqvae_enc_hidden_dim=32,
        vqvae_embedding_dim=16, spatial_softmax_num_keypoints=8)
    yield "tdmpc", lambda: make_policy_config(
        "tdmpc", **features(["image"]), n_action_repeats=1, n_action_steps=4, horizon=5, latent_dim=16, mlp_dim=32,
        state_encoder_hidden_dim=16, n_gaussian_samples=16, n_pi_samples=4, n_elites=4, cem_iterations=2)
    yield "act", lambda: make_policy_config(
        "act", **features(["front", "wrist"]), **no_weights, chunk_size=4, n_action_steps=4, dim_model=32, n_heads=4,
        dim_feedforward=64, n_encoder_layers=2, n_vae_encoder_layers=1, latent_dim=8)
    yield "smolvla", lambda: make_policy_config(
        "smolvla", **features(["front", "wrist"]), vlm_model_name=str(smolvlm(local)), load_vlm_weights=False,
        num_vlm_layers=4, chunk_size=4, n_action_steps=4, resize_imgs_with_padding=(64, 64), num_steps=3,
        max_state_dim=8, max_action_dim=8)


def smolvlm(folder):
    """A tiny language model with its tokenizer, made here: LeRobot would fetch the real one from a hub."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"]
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    plain.train_from_iterator([PROMPT, "open the drawer\n"] * 20, trainer)
    names = {"fake_image_token": special[3], "image_token": special[4], "global_image_token": special[5],
             "end_of_utterance_token": special[2]}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token=special[1], eos_token=special[2], bos_token=special[1], unk_token=special[0],
        model_max_length=8192, extra_special_tokens=names)
    tokenizer.save_pretrained(folder)
    text = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 768,
            "max_position_embeddings": 512, "pad_token_id": 1}
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
              "image_size": 64, "patch_size": 16}
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    SmolVLMConfig(text_config=text, vision_config=vision, scale_factor=2, image_token_id=image_token,
                  pad_token_id=1).save_pretrained(folder)
    SmolVLMProcessor(SmolVLMImageProcessor(), tokenizer, SmolVLMVideoProcessor(), image_seq_len=4).save_pretrained(folder)
    return folder


def statistics(cameras):
    generator = torch.Generator().manual_seed(1)

    def numbers():
        return {"mean": torch.randn(6, generator=generator) * 20, "std": torch.rand(6, generator=generator) * 10 + 5,
                "min": torch.full((6,), -100.0), "max": torch.full((6,), 100.0)}

    entries = {"observation.state": numbers(), "action": numbers()}
    for camera in cameras:
        entries[feature(camera)] = {
            "mean": torch.full((3, 1, 1), 0.48), "std": torch.full((3, 1, 1), 0.22),
            "min": torch.zeros(3, 1, 1), "max": torch.ones(3, 1, 1)}
    return entries


def observations():
    """STEPS of them: images by camera, and joints."""
    generator = np.random.default_rng(0)
    images = {name: generator.integers(0, 255, (STEPS, *SIZE, 3)).astype(np.uint8) for name in ("front", "wrist", "image")}
    return images, (generator.normal(size=(STEPS, 6)) * 20).astype(np.float32)


def frame(images, joints, index, cameras):
    seen = {"observation.state": joints[index].copy()}
    for camera in cameras:
        seen[feature(camera)] = images[camera][index].copy()
    return prepare_observation_for_inference(seen, torch.device("cpu"), PROMPT)


def write(kind, config, out):
    cameras = [name.removeprefix("observation.images.").removeprefix("observation.") for name in config.image_features]
    torch.manual_seed(0)
    policy = get_policy_class(kind)(config).eval()
    before, after = make_pre_post_processors(config, dataset_stats=statistics(cameras))
    folder = out / kind
    policy.save_pretrained(folder)
    before.save_pretrained(folder)
    after.save_pretrained(folder)
    # As LeRobot itself drives with it, from the disk.
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(kind).from_pretrained(folder, config=config)
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    policy.reset()
    images, joints = observations()
    actions = []
    for index in range(STEPS):
        torch.manual_seed(SEED)
        with torch.no_grad():
            action = after(policy.select_action(before(frame(images, joints, index, cameras))))
        actions.append(action[0].float().numpy())
    if kind == "act":  # real ones name what their training began from, and LeRobot would fetch it again
        file = folder / "config.json"
        entries = json.loads(file.read_text())
        file.write_text(json.dumps({**entries, "pretrained_backbone_weights": "ResNet18_Weights.IMAGENET1K_V1"}))
    actions = np.array(actions)
    np.savez(folder / "said.npz", actions=actions, continued=continued(policy, config, before, after, actions, cameras))


def continued(policy, config, before, after, actions, cameras):
    """The chunk for the second observation, by LeRobot's real-time chunking, after one row of the first chunk; [] where a
    type has none. As LeRobot's rollout does it: what is left in the policy's own numbers."""
    if not policy.supports_rtc():
        return np.zeros((0, 6))
    from lerobot.policies.rtc.configuration_rtc import RTCConfig

    config.rtc_config = RTCConfig()
    policy.init_rtc_processor()
    images, joints = observations()
    torch.manual_seed(SEED)
    first = policy.predict_action_chunk(before(frame(images, joints, 0, cameras)))
    assert np.allclose(torch.stack([after(row)[0] for row in first.transpose(0, 1)]).numpy(), actions[:4], atol=1e-3)
    torch.manual_seed(SEED)
    chunk = policy.predict_action_chunk(
        before(frame(images, joints, 1, cameras)), inference_delay=1, prev_chunk_left_over=first[:, 1:],
        execution_horizon=3)
    with torch.no_grad():
        return torch.stack([after(row)[0] for row in chunk.transpose(0, 1)]).float().numpy()


def act_default(out):
    """ACT as LeRobot makes it where nobody says anything, of two cameras of 480 x 640: for `vla bench policy`."""
    global SIZE
    SIZE = (480, 640)
    torch.manual_seed(0)
    config = make_policy_config("act", **features(["front", "wrist"]), pretrained_backbone_weights=None)
    get_policy_class("act")(config).save_pretrained(out)
    for pipeline in make_pre_post_processors(config, dataset_stats=statistics(["front", "wrist"])):
        pipeline.save_pretrained(out)
    options = {"checkpoint": str(out.resolve()), "state": JOINTS, "actions": list(JOINTS), "unit": "deg"}
    (out / "policy.yaml").write_text(json.dumps({"policy": "lerobot", "rate": 30, "options": options}))


def main():
    out = Path(sys.argv[1])
    if sys.argv[2:] == ["act_default"]:
        act_default(out)
        return
    torch.set_num_threads(1)  # as the sidecar is told to: sums come out the same
    made = {}
    for kind, config in configs(out / "smolvlm"):
        try:
            write(kind, config(), out)
            made[kind] = ""
        except ImportError as error:
            made[kind] = str(error).strip().splitlines()[0]
    images, joints = observations()
    np.savez(out / "seen.npz", joints=joints, **images)
    names = {name: {"dtype": "float32", "shape": [6], "names": JOINTS} for name in ("observation.state", "action")}
    (out / "meta").mkdir(exist_ok=True)
    (out / "meta" / "info.json").write_text(json.dumps({"fps": FPS, "features": names}))
    (out / "made.json").write_text(json.dumps({"prompt": PROMPT, "fps": FPS, "seed": SEED, "types": made}))


if __name__ == "__main__":
    main()
