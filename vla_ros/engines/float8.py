"""A quantized graph in 8-bit floats (FP8 E4M3), made of one in 8-bit integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

OPSET = 19  # ONNX's first with 8-bit floats
# What a scale stands for: the largest number of the one type, and of the other.
INT8_MOST = 127
FLOAT8_MOST = 448
QUANTIZING = ("QuantizeLinear", "DequantizeLinear")


def to_float8(path: Path) -> None:
    """Rewrites the graph at `path`: where it rounds to int8, it rounds to FP8 E4M3.

    The ranges stay as they were calibrated. Weights must be fp32, with quantize nodes of their own:
    what was rounded to integers once would be rounded twice.

    Raises:
        ValueError: For a zero point that is not 0, and for weights that are integers already.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load(str(path))
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    rewritten = set()
    for node in model.graph.node:
        if node.op_type not in QUANTIZING:
            continue
        given, scale, zero = node.input
        if given in initializers and node.op_type == "DequantizeLinear":
            raise ValueError(f"{given} is in integers already; quantize it with a node of its own")
        if zero in rewritten:  # a quantize node shares them with its dequantize node
            continue
        rewritten.add(zero)
        shift = numpy_helper.to_array(initializers[zero])
        if np.any(shift):
            raise ValueError(f"{zero} is not 0; quantize symmetrically")
        factor = numpy_helper.to_array(initializers[scale]) * np.float32(INT8_MOST / FLOAT8_MOST)
        initializers[scale].CopyFrom(numpy_helper.from_array(factor, scale))
        zeros = onnx.helper.make_tensor(
            zero, TensorProto.FLOAT8E4M3FN, shift.shape, bytes(shift.size), raw=True
        )
        initializers[zero].CopyFrom(zeros)
    for imported in model.opset_import:
        if not imported.domain:  # ONNX's own operators
            imported.version = max(imported.version, OPSET)
    del model.graph.value_info[:]  # it names the integers; whoever loads the graph infers it anew
    onnx.save(model, str(path))
