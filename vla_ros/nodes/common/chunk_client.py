"""Asks the node that is the policy for its rows: the service behind the policy `ros_service`."""

from __future__ import annotations

import time

import numpy as np

from vla_ros.nodes.common import convert
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.policies.ros_service import ChunkAnswer, ChunkRequest
from vla_ros_msgs.srv import GetActionChunk

POLL_PERIOD_S = 0.0005  # between two looks for an answer: half of it is what asking costs
GRAPH_PERIOD_S = 0.1  # between two looks whether the service is still there


class ChunkClient:
    """A client of one service, for the thread that predicts: no executor takes its answers.

    So it works while the node is being configured, when the executor waits for this very thread,
    and whatever keeps the executor busy later.

    Args:
        node: whose client it is; it goes with the node's other connections.
        service: its name.
    """

    def __init__(self, node: ManagedNode, service: str) -> None:
        self._client = node.add_client(GetActionChunk, service, attended=False)

    def is_there(self) -> bool:
        """Whether a node offers the service."""
        return bool(self._client.service_is_ready())

    def ask(self, request: ChunkRequest, timeout_s: float) -> ChunkAnswer | None:
        """The answer to this request; None: it did not come in time, or the service went away.

        An answer to an earlier one, which came too late, is thrown away.
        """
        handle = self._client.handle
        message = request_message(request)
        with handle:
            number = handle.send_request(message)
        begin = time.monotonic()
        looked = begin
        while (now := time.monotonic()) - begin < timeout_s:
            with handle:
                header, answer = handle.take_response(GetActionChunk.Response)
            if answer is not None and header.request_id.sequence_number == number:
                return chunk_answer(answer)
            if answer is not None:
                continue
            if now - looked > GRAPH_PERIOD_S:
                looked = now
                if not self.is_there():
                    return None
            time.sleep(POLL_PERIOD_S)
        return None


def request_message(request: ChunkRequest) -> GetActionChunk.Request:
    """What is asked, as a message."""
    message = GetActionChunk.Request(
        stamp=convert.time_message(request.stamp),
        instruction_id=request.instruction_id,
        prompt=request.prompt,
        image_names=list(request.images),
        state_names=list(request.state),
        state=list(map(float, request.state.values())),
        channels=list(request.channels),
        rows=request.rows,
        step=convert.duration_message(request.step),
        horizon=request.horizon,
        pending_executed=request.pending_executed,
    )
    for name, image in request.images.items():
        message.images.append(convert.image_message(image, request.stamp, name))
    message.pending = convert.float_array(request.pending)
    return message


def chunk_answer(message: GetActionChunk.Response) -> ChunkAnswer:
    """What was answered, unchecked."""
    return ChunkAnswer(
        np.array(message.values, np.float32),
        message.rows,
        message.width,
        tuple(message.channels),
        convert.stamp_ns(message.step),
        message.not_understood,
        message.error,
    )
