"""ONNX Runtime on a GPU, as far as a computer without one shows it: its providers, their options, and the bound run.

That a GPU runs it was not shown: none with onnxruntime-gpu was at hand.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="engines run torch's models")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

from torch import Tensor, nn

from vla_ros.engines import onnxruntime as engine
from vla_ros.engines.accuracy_check import TOLERANCE, compare
from vla_ros.engines.base import SubModel
from vla_ros.engines.device_buffers import BufferedRun
from vla_ros.engines.inductor import Inductor
from vla_ros.engines.onnxruntime import PROVIDERS, OnnxRuntime, bound_run, gpu_providers
from vla_ros.engines.select import EngineRequest

TENSORRT, CUDA, CPU = PROVIDERS
STREAM = SimpleNamespace(device=SimpleNamespace(index=1), cuda_stream=4711)


class Look(nn.Module):
    """A picture of bytes, ids and a mask, as the policy's parts take them."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.words = nn.Conv2d(3, 4, 2, 2), nn.Embedding(5, 4)

    def forward(self, image: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        seen = self.look(image.to(self.words.weight.dtype).permute(0, 3, 1, 2) / 255)
        told = self.words(ids) * mask[..., None]
        return seen.mean((2, 3)), told.sum(1).tanh()


@pytest.fixture
def part() -> SubModel:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    examples = tuple((torch.randint(0, 256, (1, 4, 6, 3), dtype=torch.uint8, generator=generator),
                      torch.randint(0, 5, (1, 7), generator=generator), torch.arange(7)[None] < 4) for _ in range(3))
    return SubModel("look", Look().eval(), ("image", "ids", "mask"), ("seen", "told"), examples, "weights", (2, 3))


def with_providers(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(engine, "available_providers", lambda: [*names, CPU])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_bound_to_buffers_it_computes_what_the_model_does(part: SubModel, tmp_path: Path, precision: str) -> None:
    """What a GPU is given, on the CPU's own provider."""
    OnnxRuntime.build(part, "cuda", precision, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "part.onnx"), providers=[CPU])
    runs: dict[int, BufferedRun] = {}

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        rows = len(inputs[0])
        runs.setdefault(rows, bound_run(session, part.inputs, inputs, "cpu", None, part.kept))
        return runs[rows](inputs)

    assert max(compare(part, run, precision).values()) <= TOLERANCE[precision]
    assert sorted(runs) == [1, 3] and run(*part.stacked(2))[0].shape == (2, 4)
    first, again = run(*part.examples[0]), run(*part.examples[1])
    assert not torch.equal(first[0], again[0])  # and the first one's are still its own


@pytest.mark.parametrize(("there", "order"), [
    ((CUDA, TENSORRT), [TENSORRT, CUDA, CPU]), ((CUDA,), [CUDA, CPU]), ((TENSORRT,), [TENSORRT, CPU])])
def test_tensorrt_comes_before_cuda_and_cuda_before_the_cpu(part: SubModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                            there: tuple[str, ...], order: list[str]) -> None:
    with_providers(monkeypatch, *there)
    assert [name for name, _ in gpu_providers(part, "fp32", tmp_path, STREAM)] == order


def test_all_run_on_our_stream_and_tensorrts_engine_lies_in_our_cache(part: SubModel, monkeypatch: pytest.MonkeyPatch,
                                                                      tmp_path: Path) -> None:
    with_providers(monkeypatch, TENSORRT, CUDA)
    options = dict(gpu_providers(part, "fp32", tmp_path, STREAM))
    place = {"device_id": "1", "user_compute_stream": "4711"}
    assert options[CUDA] == place | {"use_tf32": "0"} and options[CPU] == {}
    assert options[TENSORRT] == place | {
        "trt_engine_cache_enable": "1", "trt_engine_cache_path": str(tmp_path / "tensorrt"),
        "trt_profile_min_shapes": "image:1x4x6x3,ids:1x7,mask:1x7", "trt_profile_opt_shapes": "image:2x4x6x3,ids:2x7,mask:2x7",
        "trt_profile_max_shapes": "image:3x4x6x3,ids:3x7,mask:3x7"}
    assert dict(gpu_providers(part, "fp16", tmp_path, STREAM))[CUDA] == place
    single = dict(gpu_providers(replace(part, batch=(1, 1)), "fp16", tmp_path, STREAM))
    assert not any("profile" in name for name in single[TENSORRT])


@pytest.mark.parametrize(("there", "device", "precision", "why"), [
    ((), "cuda", "fp32", "this onnxruntime has no provider for a GPU: pip install onnxruntime-gpu"),
    ((CUDA,), "cuda", "int8", "onnxruntime runs fp32 and fp16 on a CUDA device here, not int8"),
    ((CUDA,), "cuda", "bf16", "onnxruntime runs fp32 and fp16 on a CUDA device here, not bf16"),
    ((CUDA,), "cpu", "fp16", "onnxruntime runs fp32 and int8 on a CPU device here, not fp16"),
    ((CUDA,), "cuda", "fp32", ""), ((CUDA,), "cuda:1", "fp16", ""), ((TENSORRT,), "cuda", "fp16", ""), ((), "cpu", "int8", "")])
def test_why_it_cannot_run_there(monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], device: str, precision: str,
                                 why: str) -> None:
    with_providers(monkeypatch, *there)
    assert OnnxRuntime.missing(device, precision) == why


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="onnxruntime has a GPU's provider here")
def test_where_onnxruntime_goes_on_without_the_gpu_it_is_refused(part: SubModel, tmp_path: Path,
                                                                 capfd: pytest.CaptureFixture[str]) -> None:
    """It prints a warning and runs on the CPU, which nobody asked for."""
    OnnxRuntime.build(part, "cuda", "fp32", tmp_path)
    with pytest.raises(ValueError, match="onnxruntime cannot load CUDAExecutionProvider; its reason is on stderr"):
        engine._gpu_session(tmp_path / "part.onnx", [(CUDA, {}), (CPU, {})])


def test_other_providers_are_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = OnnxRuntime.versions()
    with_providers(monkeypatch, TENSORRT)
    assert OnnxRuntime.versions() != before


def test_on_a_gpu_auto_asks_it_after_tensorrt() -> None:
    assert [name for name, _ in EngineRequest(device="cuda").order][:3] == ["tensorrt_rtx", "tensorrt", "onnxruntime"]


def test_on_a_gpu_inductor_is_not_offered_because_it_crashed_there() -> None:
    assert "inductor" not in [name for name, _ in EngineRequest(device="cuda").order]
    why = "inductor is for a CPU: its packages end the process that runs them on a GPU"
    assert Inductor.missing("cuda", "fp16") == Inductor.missing("cuda:1", "fp32") == why
    assert why not in Inductor.missing("cpu", "fp32")
