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


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](int(sys.argv[2]))
