"""How a part of a model runs: one file an engine, chosen by name; no policy knows which it is."""

from __future__ import annotations

ENGINES = {
    "eager": "vla_ros.engines.eager:Eager",
    "inductor": "vla_ros.engines.inductor:Inductor",
    "onnxruntime": "vla_ros.engines.onnxruntime:OnnxRuntime",
    "tensorrt_rtx": "vla_ros.engines.tensorrt_rtx:TensorRTRTX",
    "tensorrt": "vla_ros.engines.tensorrt:TensorRT",
}
# TensorRT for RTX on PyPI: ordinary wheels, 96 MB
RTX_WHEELS = "tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116"
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
