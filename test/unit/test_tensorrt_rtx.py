"""TensorRT for RTX: its own parser and builder take every configuration, with no GPU; where it cannot run it says why.

That an RTX GPU runs what is built here was not shown: none was at hand.
"""
from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="engines run torch's models")

from test_models_export import CONFIGS, VARIES, parts

from vla_ros.cli import main
from vla_ros.engines import tensorrt_rtx
from vla_ros.engines.accuracy_check import compare
from vla_ros.engines.base import SubModel, lacking
from vla_ros.engines.cache import ENTRY_FILE
from vla_ros.engines.select import EngineRequest, load_engine
from vla_ros.engines.serialized_engine import check_inputs
from vla_ros.engines.tensorrt_rtx import (
    MODULE_NAMES,
    TARGETS,
    TensorRTRTX,
    read_hashed,
    serialize,
    write_hashed,
)

HERE = len(lacking(*MODULE_NAMES)) < len(MODULE_NAMES) and not lacking("onnx", "onnxscript")
builds = pytest.mark.skipif(not HERE, reason="TensorRT for RTX, onnx or onnxscript is not installed")
SIZES = ((8, 16), (1, 1))  # batches
BUILDS = [pytest.param(changes, precision, batch, id=f"{changes}-{precision}-{batch}", marks=[] if (
              precision == "fp16" and (batch == SIZES[0]) == (index in VARIES)) else pytest.mark.full)
          for index, changes in enumerate(CONFIGS) for precision in ("fp16", "fp32", "bf16") for batch in SIZES]

EIGHT_BITS = [pytest.param(precision, batch, id=f"{precision}-{batch}", marks=marks)
              for precision in ("int8", "fp8") for batch, marks in ((SIZES[0], []), (SIZES[1], pytest.mark.full))]


# -- what it builds here -----------------------------------------------------------------------------------------
@builds
@pytest.mark.parametrize(("changes", "precision", "batch"), BUILDS)
def test_every_configuration_is_built_without_a_warning(changes: dict[str, Any], precision: str, batch: tuple[int, int]) -> None:
    for part in parts(batch, **changes):
        engine = serialize(part, ["sm_89"], precision)
        assert engine.warned == [] and len(engine.data) > 100_000


@builds
def test_bf16_is_built_for_convolutions_with_normalisations() -> None:
    """ONNX's optimizer leaves fp32 weights in them, which the parser refuses."""
    assert serialize(parts(vision="resnet18", fusion="late")[-1], ["sm_89"], "bf16").warned == []


@builds
@pytest.mark.parametrize(("precision", "batch"), EIGHT_BITS)
def test_8_bits_are_built_of_a_graph_that_computes_what_the_model_does(tmp_path: Path, precision: str,
                                                                       batch: tuple[int, int]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("safetensors")
    from vla_ros.bench.policy_models import model_of
    from vla_ros.engines.compiled_vla import sub_models_of
    from vla_ros.engines.onnxruntime import save_quantized

    part = sub_models_of(*model_of("builtin"), batch)[1]
    save_quantized(part, tmp_path / "part.onnx", precision, symmetric=True)
    options = onnxruntime.SessionOptions()  # its optimizer would merge the nodes into layers that it has in integers alone
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(tmp_path / "part.onnx"), options, providers=["CPUExecutionProvider"])

    def run(*inputs: torch.Tensor) -> list[torch.Tensor]:
        return list(map(torch.from_numpy, session.run(None, dict(zip(part.inputs, map(torch.Tensor.numpy, inputs))))))

    differences = compare(part, run, precision)  # raises where it does not
    assert max(differences.values()) > 1e-4  # fewer bits are in it
    for target in ("sm_89", "sm_120"):
        engine = serialize(part, [target], precision)
        assert engine.warned == [] and len(engine.data) > 100_000
    assert TensorRTRTX.lacks(precision) == ""


@builds
@pytest.mark.full
@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_every_configuration_is_built_in_fp8(changes: dict[str, Any]) -> None:
    pytest.importorskip("onnxruntime")
    for part in parts(**changes):
        assert serialize(part, ["sm_89"], "fp8").warned == []


@pytest.mark.parametrize(("target", "has"), [("sm_80", False), ("sm_86", False), ("sm_89", True), ("sm_120", True), ("sm_121", True)])
def test_fp8_is_refused_for_a_gpu_without_it(installed: None, monkeypatch: pytest.MonkeyPatch, part: SubModel, target: str,
                                             has: bool) -> None:
    why = f"fp8 is for compute capability 8.9 or more (RTX 40, RTX 50), and this is {target}"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(TensorRTRTX, "target", staticmethod(lambda device: target))
    assert TensorRTRTX.missing("cuda", "fp8") == ("" if has else why)
    if not has:
        with pytest.raises(ValueError, match=re.escape(why)):
            serialize(part, ["sm_89", target], "fp8")


@builds
def test_every_target_is_built_alone_and_all_of_them_at_once(part: SubModel) -> None:
    targets = sorted(set(TARGETS.values()))
    for wanted in (*([target] for target in targets), targets):
        assert serialize(part, wanted, "fp32").warned == []


@builds
def test_a_target_that_the_library_lacks_is_a_sentence(part: SubModel) -> None:
    with pytest.raises(ValueError, match="builds nothing for sm_87"):
        serialize(part, ["sm_87"], "fp32")


class Determinant(torch.nn.Module):
    def forward(self, given: Any) -> Any:
        return (torch.linalg.det(given),)


@builds
def test_an_operator_that_it_cannot_take_is_named() -> None:
    odd = SubModel("odd", Determinant(), ("given",), ("det",), ((torch.rand(1, 3, 3),),), "")
    with pytest.raises(ValueError, match="its parser refuses odd: .*Det"):
        serialize(odd, ["sm_89"], "fp32")


@builds
def test_a_warning_that_nobody_explained_is_told(part: SubModel) -> None:
    class Unused(torch.nn.Module):
        def forward(self, given: Any, more: Any) -> Any:
            return (given * 2,)

    row = torch.rand(1, 3)
    odd = SubModel("odd", Unused(), ("given", "more"), ("twice",), ((row, row),), "")
    assert any("more" in text for text in serialize(odd, ["sm_89"], "fp32").warned)


# -- the verb ----------------------------------------------------------------------------------------------------
@builds
def test_vla_compile_for_builds_beside_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    from tiny_models import make

    from vla_ros.models.checkpoint import from_pretrained, save_pretrained

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_pretrained(make(auxiliary=True), tmp_path / "model")
    command = ["compile", "--checkpoint", str(tmp_path / "model"), "--for", "rtx40", "--beside", "--precision", "fp16"]
    assert main.main(command) == 0
    told = capsys.readouterr().out
    assert "vision and action for rtx40 (sm_89) at fp16: " in told and "Not compared with the model yet" in told
    assert len(list((tmp_path / "model" / "engines").glob(f"[!.]*/{ENTRY_FILE}"))) == 2
    assert main.main(command) == 0 and capsys.readouterr().out.count("was there") == 2
    assert not (tmp_path / "cache").exists()
    again = from_pretrained(tmp_path / "model")  # which the folder does not disturb
    save_pretrained(again, tmp_path / "model")
    assert not (tmp_path / "model" / "engines").exists()  # they were of the weights before


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--for", "rtx20"], "there is no target 'rtx20'; known are rtx30, rtx40, rtx50"),
    (["--for", "rtx40", "--engine", "eager"], "engine 'eager' is built only on the computer that runs it"),
    (["--beside"], "--beside is for engines of other computers; name their GPUs with --for"),
    pytest.param(["--for", "rtx30", "--precision", "fp8"], "fp8 is for compute capability 8.9 or more", marks=builds)])
def test_what_cannot_be_built_ahead_is_a_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main.main(["compile", *arguments]) != 0
    assert sentence in capsys.readouterr().err


# -- why it cannot run here --------------------------------------------------------------------------------------
@pytest.fixture
def part() -> SubModel:
    torch.manual_seed(0)
    return SubModel("linear", torch.nn.Sequential(torch.nn.Linear(4, 3), Tuple()), ("given",), ("row",), ((torch.rand(1, 4),),),
                    "weights-1")


class Tuple(torch.nn.Module):
    def forward(self, given: Any) -> Any:
        return (given,)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_rtx, "lacking", lambda *names: [])


def test_where_it_is_not_installed_the_wheels_are_named(monkeypatch: pytest.MonkeyPatch, part: SubModel) -> None:
    monkeypatch.setattr(tensorrt_rtx, "lacking", lambda *names: list(names))
    why = TensorRTRTX.missing("cuda", "fp32")
    assert why.startswith("TensorRT for RTX is not installed: pip install tensorrt-rtx-cu13-libs==")
    ready = load_engine(part, EngineRequest("tensorrt_rtx", device="cpu", cache="none"))
    assert ready.name == "eager" and why in ready.notes[0]


def test_where_onnx_is_not_installed_it_does_not_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_rtx, "lacking", lambda *names: [name for name in names if name.startswith("onnx")])
    assert TensorRTRTX.lacks("fp32") == "onnx and onnxscript not installed: pip install onnx onnxscript"
    assert "onnx" not in TensorRTRTX.missing("cpu", "fp32")  # what was built elsewhere runs without


@pytest.mark.parametrize(("capability", "why"), [
    ((8, 0), ""), ((8, 6), ""), ((8, 9), ""), ((12, 0), ""), ((12, 1), ""),
    ((7, 5), "this GPU is sm_75"), ((8, 7), "this GPU is sm_87"), ((9, 0), "this GPU is sm_90"), ((10, 0), "this GPU is sm_100"),
    ((11, 0), "this GPU is sm_110")])
def test_a_gpu_that_it_is_not_for_is_named(installed: None, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int],
                                           why: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    assert TensorRTRTX.missing("cuda", "fp16").endswith(why)
    assert bool(TensorRTRTX.missing("cuda", "fp16")) == bool(why)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(("precision", "why"), [
    ("fp32", "tensorrt_rtx needs an NVIDIA RTX GPU; torch sees cuda"), ("fp4", "tensorrt_rtx runs fp32, fp16, bf16, int8, fp8 here, not fp4")])
def test_without_a_gpu_and_at_other_precisions_the_next_engine_runs(installed: None, precision: str, why: str) -> None:
    assert why in TensorRTRTX.missing("cuda", precision)


def test_on_a_gpu_auto_asks_it_first() -> None:
    assert EngineRequest(device="cuda").order[0][0] == "tensorrt_rtx"


@builds
def test_the_key_names_its_version_and_not_torchs() -> None:
    assert TensorRTRTX.versions() == {"tensorrt_rtx": tensorrt_rtx.library().__version__}


# -- what it keeps and where it computes ---------------------------------------------------------------------------
@pytest.mark.parametrize("damage", ["none", "cut", "other", "empty", "gone"])
def test_kernels_that_are_not_as_they_were_written_are_not_read(tmp_path: Path, damage: str) -> None:
    place = tmp_path / "grows" / "kernels"
    write_hashed(place, b"kernels" * 10)
    whole = place.read_bytes()
    if damage == "gone":
        place.unlink()
    elif damage != "none":
        place.write_bytes({"cut": whole[:-1], "other": whole[:-1] + b"!", "empty": b""}[damage])
    assert read_hashed(place) == (b"kernels" * 10 if damage == "none" else b"")


def test_kernels_that_cannot_be_kept_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_hashed(tmp_path / "file" / "kernels", b"kernels")


@pytest.mark.parametrize(("kind", "inputs", "sentence"), [
    ("INT64", [torch.zeros(1, dtype=torch.int64)], ""),
    ("INT32", [torch.zeros(1, dtype=torch.int64)], "takes ids as torch.int32, and the part gives torch.int64"),
    ("FP4", [torch.zeros(1)], "the engine's ids is of type FP4"),
    ("INT64", [], "the engine takes ids, and the part has 0 inputs")])
def test_inputs_of_another_type_are_refused(kind: str, inputs: list[Any], sentence: str) -> None:
    engine = SimpleNamespace(get_tensor_dtype=lambda name: f"DataType.{kind}")
    if sentence:
        with pytest.raises(ValueError, match=sentence):
            check_inputs(engine, ["ids"], inputs)
    else:
        check_inputs(engine, ["ids"], inputs)


def test_a_part_of_another_batch_is_another_engine(part: SubModel) -> None:
    from vla_ros.engines.cache import key_of
    from vla_ros.engines.select import depends_for

    if not HERE:
        pytest.skip("TensorRT for RTX is not installed")
    keys = {key_of(depends_for(other, "tensorrt_rtx", TensorRTRTX, precision, target))
            for other in (part, replace(part, batch=(8, 16))) for precision in ("fp16", "fp32") for target in ("sm_86", "sm_89")}
    assert len(keys) == 8
