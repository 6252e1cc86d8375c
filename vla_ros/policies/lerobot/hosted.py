"""A checkpoint of any type, run by LeRobot's own code, in LeRobot's own environment.

It is loaded by LeRobot's factory and its processors, and offered by the server that offers our own
policies. None of its code is run and nothing of it is unpickled, and nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vla_ros.core.shown import shown
from vla_ros.core.types import NANOSECONDS, Observation
from vla_ros.policies.base import PolicySpec, Rows
from vla_ros.policies.lerobot.checkpoint import (
    ACTION,
    ENVIRONMENT,
    POSTPROCESSOR,
    PREPROCESSOR,
    STATE,
    Checkpoint,
    refuse_code,
    step_names,
)
from vla_ros.policies.lerobot.policy import LeRobot, checked_options, content_hash, open_checkpoint
from vla_ros.policies.options import thread_count

DEVICE_STEP = "device_processor"
TOKENIZER_STEP = "tokenizer_processor"
# owner/name, as hubs have it
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


class HostedPolicy:
    """What PolicyServer asks. Options: those of `lerobot`."""

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """The policy lerobot's own. Raises ValueError."""
        return LeRobot.spec(options)

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Loads the weights, and runs once. Raises ValueError."""
        import torch

        given = checked_options(options)
        self._checkpoint = open_checkpoint(options)
        refuse_code(self._checkpoint)
        self._spec = self.spec(options)
        sidecar = given["sidecar"]
        self._device = sidecar.get("device", "cuda" if torch.cuda.is_available() else "cpu")
        self._seed: int | None = sidecar.get("seed")
        torch.set_num_threads(thread_count("lerobot", given["threads"]))
        _refuse_foreign_code()
        self._load(sidecar.get("tokenizer", ""))
        self.name = f"lerobot {self._checkpoint.type}@{content_hash(self._checkpoint.folder)}"
        # LeRobot's policies with a history keep it here, beside the rows that are to come.
        queues = getattr(self._policy, "_queues", None) or {}
        self._has_history = bool(set(queues) - {ACTION})
        rows = self.predict(self._spec.blank())
        self.reset()
        if len(rows) < self._spec.steps or rows.shape[1:] != (len(self._spec.channels),):
            raise ValueError(
                f"the checkpoint gives rows of shape {rows.shape}, and {self._spec.steps} x "
                f"{len(self._spec.channels)} are expected by its config"
            )

    @property
    def metadata(self) -> dict[str, Any]:
        """What the greeting says beside names and sizes."""
        config = self._checkpoint.config
        features: dict[str, Any] = {}
        for feature in (*self._checkpoint.inputs.values(), *self._checkpoint.outputs.values()):
            features[feature.name] = {"type": feature.kind, "shape": list(feature.shape)}
        return {
            "type": self._checkpoint.type,
            "features": features,
            "rows": self._spec.steps,
            "n_action_steps": config.get("n_action_steps", self._spec.steps),
            "n_obs_steps": self._spec.history,
            "takes_prefix": self._spec.takes_prefix,
            "fps": NANOSECONDS / self._spec.step,
        }

    def predict(self, observation: Observation) -> Rows:
        """Rows T x C as LeRobot's postprocessor gives them, T the type's own."""
        import torch

        with torch.no_grad():
            past = [self._batch(moment) for moment in observation.history]
            # Last, as relative actions count from the state that was preprocessed last.
            batch = self._batch(observation)
            if self._seed is not None:
                torch.manual_seed(self._seed)
            if self._has_history:
                actions = self._after_history(past, batch)
            else:
                options = self._continuing(observation)
                chunk = self._policy.predict_action_chunk(dict(batch), **options)
                actions = list(chunk.transpose(0, 1))
            # One row at a time, as LeRobot's own loops do it.
            rows = [self._after(row)[0] for row in actions]
            given: Rows = torch.stack(rows).float().cpu().numpy()
        return given

    def reset(self) -> None:
        """Another instruction: what was planned for the one before does not count."""
        self._policy.reset()

    def _batch(self, observation: Observation, prefix: Rows | None = None) -> dict[str, Any]:
        """An observation as the policy takes it; rows of actions go with it, where there are."""
        import torch
        from lerobot.policies.utils import prepare_observation_for_inference

        frame: dict[str, Any] = {}
        for name, feature in self._checkpoint.images.items():
            frame[feature.name] = np.array(observation.images[name])  # torch wants to own it
        numbers = [observation.state[name] for name in self._spec.state]
        width = self._checkpoint.width(STATE)
        if width:
            frame[STATE] = np.array(numbers[:width], np.float32)
        if self._checkpoint.width(ENVIRONMENT):
            frame[ENVIRONMENT] = np.array(numbers[width:], np.float32)
        text = observation.instruction.text
        prepared = prepare_observation_for_inference(frame, torch.device(self._device), text)
        if prefix is not None:
            prepared[ACTION] = torch.tensor(prefix, device=self._device)[None]
        batch: dict[str, Any] = self._before(prepared)
        return batch

    def _after_history(
        self, past: Sequence[Mapping[str, Any]], batch: Mapping[str, Any]
    ) -> list[Any]:
        """The chunk's rows, each 1 x C, of a policy that keeps a history.

        LeRobot asks such a policy at every step, and most of the time gets a row that it has
        already; the history grows on the way. Here it is asked for whole chunks, so the history is
        made anew: one observation a step, and a row in the queue to keep it from thinking.
        """
        queues = self._policy._queues
        waiting = queues[ACTION]
        for queue in queues.values():
            queue.clear()
        for moment in past:
            waiting.append(None)
            self._policy.select_action(dict(moment))
        first = self._policy.select_action(dict(batch))
        rows = [first, *waiting]
        waiting.clear()
        return rows

    def _continuing(self, observation: Observation) -> dict[str, Any]:
        """What a policy that continues chunks is told of the one before."""
        prefix = observation.prefix
        if prefix is None or not self._continues:
            return {}
        # In its own numbers, by the very steps that training's actions went through.
        batch = self._batch(observation, prefix.rows[: self._spec.steps])
        return {
            "inference_delay": prefix.delay,
            "prev_chunk_left_over": batch[ACTION],
            "execution_horizon": prefix.horizon,
        }

    def _load(self, tokenizer: str) -> None:
        """Raises ValueError, in a sentence, for whatever LeRobot says."""
        folder = str(self._checkpoint.folder)
        before = {DEVICE_STEP: {"device": self._device}, TOKENIZER_STEP: {}}
        if tokenizer:
            before[TOKENIZER_STEP] = {"tokenizer_name": tokenizer}
        try:
            from lerobot.configs.policies import PreTrainedConfig
            from lerobot.policies.factory import get_policy_class, make_pre_post_processors

            config = PreTrainedConfig.from_pretrained(folder)
            config.device = self._device
            # The checkpoint holds all weights; these would be fetched first, and overwritten.
            for key, nothing in (
                ("pretrained_backbone_weights", None),
                ("load_vlm_weights", False),
            ):
                if hasattr(config, key):
                    setattr(config, key, nothing)
            self._policy = get_policy_class(config.type).from_pretrained(folder, config=config)
            self._continues = self._let_continue(config)
            self._before, self._after = make_pre_post_processors(
                config,
                pretrained_path=folder,
                preprocessor_overrides=_of_steps(before, self._checkpoint, PREPROCESSOR),
                postprocessor_overrides=_of_steps(
                    {DEVICE_STEP: {"device": "cpu"}}, self._checkpoint, POSTPROCESSOR
                ),
            )
        except ImportError as error:
            raise ValueError(
                f"LeRobot's {self._checkpoint.type} needs a package that is not in its environment "
                f"({_line(error)}); install it there, with that environment's bin/pip"
            ) from error
        except Exception as error:  # LeRobot, draccus, torch and transformers have dozens
            raise ValueError(self._failed(error)) from error
        self._policy.reset()

    def _let_continue(self, config: Any) -> bool:
        """Turns real-time chunking on, where the type has it."""
        supports = getattr(self._policy, "supports_rtc", None)
        if supports is None or not supports() or not hasattr(config, "rtc_config"):
            return False
        from lerobot.policies.rtc.configuration_rtc import RTCConfig

        if config.rtc_config is None:
            config.rtc_config = RTCConfig()
        config.rtc_config.enabled = True
        self._policy.init_rtc_processor()
        return True

    def _failed(self, error: Exception) -> str:
        sentence = f"LeRobot cannot load {self._checkpoint.folder}: {_line(error)}"
        names = _hub_names(self._checkpoint)
        text = str(error).lower()
        if names and any(word in text for word in ("hub", "offline", "huggingface", "connect")):
            sentence += (
                f". It wants {', '.join(names)} from the hub, and nothing is fetched here: fetch "
                "them once with `hf download NAME` (bin/hf of its environment), or give a folder "
                "(sidecar: {tokenizer: DIR})"
            )
        return sentence


def offer(request: Mapping[str, Any], announce: Callable[[int, str], None]) -> None:
    """Loads the checkpoint, and serves until the process ends.

    Args:
        request: As sidecar_main.py has it.
        announce: Told the port, and what people want to read, once a client may come.

    Raises:
        ValueError: The checkpoint cannot be loaded, or nobody can listen there.
    """
    from vla_ros.policies.remote.server import PolicyServer

    # Before torch, which takes seconds.
    if importlib.util.find_spec("lerobot") is None:
        raise ValueError(
            f"{sys.executable} has no LeRobot; `vla serve --make-env` makes one that has"
        )

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    policy = HostedPolicy(request["options"])
    key = os.environ.get(request["key"], "") if request["key"] else ""
    try:
        spec = policy.spec(request["options"])
        server = PolicyServer(policy, spec, request["host"], request["port"], key, say)
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"cannot listen at {request['host']}, port {request['port']}: {error}; give another "
            "--port"
        ) from None
    announce(
        server.port,
        f"{policy.name} at ws://{request['host']}:{server.port}; a policy file that asks it:\n\n"
        f"{server.policy_file()}",
    )
    try:
        server.serve_forever()
    finally:
        server.close()


def _of_steps(
    overrides: Mapping[str, Mapping[str, Any]], checkpoint: Checkpoint, file: str
) -> dict[str, Mapping[str, Any]]:
    """Those of steps that are there: LeRobot refuses others."""
    there = step_names(checkpoint, file)
    return {name: entry for name, entry in overrides.items() if name in there and entry}


def _refuse_foreign_code() -> None:
    """Tokenizers and models of a hub may bring code of their own: it is not run."""
    import torch

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise ValueError("it brings code of its own, and none of a checkpoint's is run here")

    def refuse_download(url: str, *arguments: Any, **options: Any) -> Any:
        raise ValueError(f"it wants to fetch {shown(url, 200)} from the network")

    # Where torchvision's backbones come from, as pickles.
    torch.hub.load_state_dict_from_url = refuse_download
    try:
        from transformers import dynamic_module_utils
    except ImportError:
        return
    # Every way to such code ends here, whatever trust_remote_code says; and nobody is asked whether
    # it may run, which would take a while.
    dynamic_module_utils.get_class_in_module = refuse
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0


def _hub_names(checkpoint: Checkpoint) -> list[str]:
    """Names of a hub's repositories in what the checkpoint says."""
    texts = [json.dumps(dict(checkpoint.config))]
    for file in (PREPROCESSOR, POSTPROCESSOR):
        texts.append((checkpoint.folder / file).read_text(encoding="utf-8"))
    names: list[str] = []
    for value in re.findall(r'_(?:name|path|id)": "([^"]+)"', " ".join(texts)):
        if HUB_NAME.fullmatch(value) and value not in names:
            names.append(value)
    return names


def _line(error: Exception) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {shown(lines[0] if lines else '', 300)}"
