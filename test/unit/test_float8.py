"""A graph quantized to integers becomes one quantized to FP8: the same ranges, and weights that are rounded once."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from vla_ros.engines.float8 import to_float8


def graph(path: Path, zero: int = 0, integers: bool = False) -> Path:
    """given -> int8 -> fp32, times a weight that goes the same way; ranges 1.27 and 2.54."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: Any) -> Any:
        return numpy_helper.from_array(np.asarray(value), name)

    weight = np.array([[1, -2]], np.int8) if integers else np.array([[1.0, -2.54]], np.float32)
    nodes = [helper.make_node("QuantizeLinear", ["given", "scale", "zero"], ["rounded"]),
             helper.make_node("DequantizeLinear", ["rounded", "scale", "zero"], ["back"]),
             helper.make_node("DequantizeLinear", ["weight" if integers else "weight_rounded", "weight_scale", "weight_zero"],
                              ["weight_back"]),
             helper.make_node("MatMul", ["back", "weight_back"], ["product"])]
    if not integers:
        nodes.insert(2, helper.make_node("QuantizeLinear", ["weight", "weight_scale", "weight_zero"], ["weight_rounded"]))
    made = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("given", TensorProto.FLOAT, [3, 1])],
                             [helper.make_tensor_value_info("product", TensorProto.FLOAT, [3, 2])],
                             [constant("scale", np.float32(0.01)), constant("zero", np.int8(zero)), constant("weight", weight),
                              constant("weight_scale", np.float32(0.02)), constant("weight_zero", np.int8(0))])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


def test_the_ranges_stay_and_what_lies_beyond_is_clipped(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = graph(tmp_path / "g.onnx")
    to_float8(path)
    onnx.checker.check_model(str(path))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run
    (product,) = run(None, {"given": np.array([[1.27], [5.0], [-0.5]], np.float32)})
    assert product[0] == pytest.approx([1.27, -1.27 * 2.54], rel=0.04)  # 3 bits of mantissa
    assert product[1] == pytest.approx(product[0], rel=1e-5)  # clipped
    assert product[2] == pytest.approx([-0.5, 0.5 * 2.54], rel=0.08)


def test_a_range_that_is_not_symmetric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zero is not 0; quantize symmetrically"):
        to_float8(graph(tmp_path / "g.onnx", zero=3))


def test_weights_that_are_integers_already_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weight is in integers already"):
        to_float8(graph(tmp_path / "g.onnx", integers=True))
