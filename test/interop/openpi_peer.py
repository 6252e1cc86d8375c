"""openpi's own server and client, as published; run by openpi.py in an environment of their own."""

import sys

import numpy as np
from openpi_client import base_policy
from openpi_client.websocket_client_policy import WebsocketClientPolicy


class Prompted(base_policy.BasePolicy):
    """Does what its prompt says: fail, or rows that show what was sent."""

    def infer(self, obs: dict) -> dict:
        if obs["prompt"] == "fail":
            raise ValueError("the policy says no")
        first = obs["observation/image"][0, 0, 0]
        rows = np.full((10, 3), float(first), np.float64)
        rows[:, 1:] = obs["observation/state"]
        return {"actions": rows}


def serve(port: int) -> None:
    from openpi_server import WebsocketPolicyServer

    WebsocketPolicyServer(Prompted(), "127.0.0.1", port, metadata={"name": "peer"}).serve_forever()


def ask(port: int) -> None:
    """Asks a `vla serve` of color_servo, and prints the rows' shape and the metadata's actions."""
    client = WebsocketClientPolicy("127.0.0.1", port)
    metadata = client.get_server_metadata()
    images = {name: np.zeros((*size, 3), np.uint8) for name, size in metadata["images"].items()}
    state = np.zeros(len(metadata["state"]), np.float32)
    for prompt in ("go forward", "turn left"):
        answer = client.infer({"images": images, "state": state, "prompt": prompt})
    print(answer["actions"].shape, list(metadata["actions"]))


def ask_lerobot(port: int, folder: str, out: str, step: str) -> None:
    """Asks a `vla serve --lerobot` about the observations in a folder, and writes its rows."""
    client = WebsocketClientPolicy("127.0.0.1", port)
    metadata = client.get_server_metadata()
    seen = np.load(f"{folder}/seen.npz")
    rows = []
    for index in range(0, len(seen["joints"]), int(step)):
        moments = [max(0, index - ago) for ago in range(metadata["n_obs_steps"] - 1, -1, -1)]
        if len(moments) == 1:
            moments = index
        question = {
            "images": {name: seen[name][moments] for name in metadata["images"]},
            "state": seen["joints"][moments],
            "prompt": "pick up the red cube",
        }
        rows.append(client.infer(question)["actions"])
    np.savez(out, rows=np.array(rows))
    shown = ("type", "rows", "n_action_steps", "n_obs_steps", "fps", "state")
    print({key: metadata[key] for key in shown})


if __name__ == "__main__":
    {"serve": serve, "ask": ask, "ask_lerobot": ask_lerobot}[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
