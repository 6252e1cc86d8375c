"""What a GPU does between its two copies, shown on the CPU: the buffers, the engine `eager` on them, and the image that it
fits in. That a graph is recorded and replayed is left to a GPU (doc/bench_gpu.md)."""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import Tensor, nn

from vla_ros.core.images import resize
from vla_ros.engines.accuracy_check import TOLERANCE, compare
from vla_ros.engines.base import SubModel
from vla_ros.engines.device_buffers import ALIGNMENT_BYTES, BufferedRun, DeviceBuffers, buffered
from vla_ros.engines.eager import Eager
from vla_ros.engines.letterbox import halves_evenly, letterbox
from vla_ros.engines.serialized_engine import SerializedEngine

BUFFERED = "cpu:0"  # a GPU's way through the code, where a CPU computes


class Look(nn.Module):
    """An image of bytes, words, a mask and a state, as the policy's parts take them."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.words, self.state = nn.Conv2d(3, 4, 2, 2), nn.Linear(5, 4), nn.Linear(2, 4)

    def forward(self, image: Tensor, words: Tensor, mask: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        seen = self.look(image.to(words.dtype).permute(0, 3, 1, 2) / 255).mean((2, 3))
        return (seen + (self.words(words) * mask[..., None]).sum(1)).tanh(), self.state(state)


@pytest.fixture
def part() -> SubModel:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    examples = []
    for words in (2, 4, 6):
        examples.append((torch.randint(0, 256, (1, 12, 16, 3), dtype=torch.uint8, generator=generator),
                         torch.randn(1, 7, 5, generator=generator), torch.arange(7)[None] < words,
                         torch.randn(1, 2, generator=generator)))
    inputs = ("image", "words", "mask", "state")
    return SubModel("look", Look().eval(), inputs, ("seen", "stands"), tuple(examples), "weights", (2, 3))


# -- the buffers ---------------------------------------------------------------------------------------------------
def test_the_buffers_keep_their_addresses_and_give_the_caller_memory_of_its_own() -> None:
    buffers = DeviceBuffers([torch.zeros(2, 3)], [((2, 3), torch.float16)], "cpu", None)
    where = [tensor.data_ptr() for tensor in (*buffers.inputs, *buffers.outputs)]
    found = []
    for value in (1.0, 2.0):
        buffers.send([torch.full((2, 3), value)])
        buffers.outputs[0].copy_(buffers.inputs[0] * 2)
        found += buffers.receive()
    assert where == [tensor.data_ptr() for tensor in (*buffers.inputs, *buffers.outputs)]
    assert [tensor.unique().tolist() for tensor in found] == [[2.0], [4.0]] and found[0].dtype == torch.float32



def test_what_it_is_made_with_is_there_before_anything_is_sent() -> None:
    """A graph is recorded by running it: of words that nobody wrote it would look up rows that there are not."""
    ids = torch.tensor([[3, 1, 2]])
    table = nn.Embedding(4, 2)
    run = buffered(lambda image, words: (table(words).detach() + image,), (torch.ones(1, 3, 2), ids), "cpu", None, kept=(1,))
    run.step()
    assert torch.equal(run._buffers.receive()[0], table(ids).detach() + 1.0)


def test_each_way_is_one_block_and_each_buffer_is_aligned() -> None:
    inputs = [torch.zeros(3, dtype=torch.bool), torch.zeros(2, 3), torch.zeros((), dtype=torch.int64)]
    buffers = DeviceBuffers(inputs, [((5,), torch.float16), ((1, 2), torch.float32)], "cpu", None, kept=[0])
    for tensors in (buffers.inputs, buffers.outputs):
        assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == 1
        first = min(tensor.data_ptr() for tensor in tensors)
        assert all((tensor.data_ptr() - first) % ALIGNMENT_BYTES == 0 for tensor in tensors)
    assert [(tensor.shape, tensor.dtype) for tensor in buffers.inputs] == [(one.shape, one.dtype) for one in inputs]


def test_what_is_kept_crosses_only_when_its_values_have_changed_and_what_is_fresh_each_time() -> None:
    image, words = torch.zeros(4), torch.zeros(3)
    buffers = DeviceBuffers([words, image], [], "cpu", None, kept=[0])
    buffers.send([words, image])
    for tensor in buffers.inputs:
        tensor.fill_(7.0)  # what crosses writes over it
    buffers.send([words.clone(), image])
    assert buffers.inputs[0].unique().tolist() == [7.0] and buffers.inputs[1].unique().tolist() == [0.0]
    words[2] = 1.0  # the very same tensor, written into
    buffers.send([words, image])
    assert buffers.inputs[0].tolist() == [0.0, 0.0, 1.0]


def test_a_policy_s_image_and_state_are_fresh_and_what_words_say_is_kept(part: SubModel) -> None:
    assert part.kept == (1, 2)


# -- the engine eager between buffers ------------------------------------------------------------------------------
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_between_buffers_eager_computes_what_the_model_does(part: SubModel, precision: str) -> None:
    engine = Eager(part, BUFFERED, precision, Path())
    assert max(compare(part, engine, precision).values()) <= TOLERANCE[precision]
    first, again = engine(*part.examples[0]), engine(*part.examples[1])
    assert not torch.equal(first[0], again[0])
    for index in range(4):  # each input counts, those that are kept as well
        mixed = list(part.examples[0])
        mixed[index] = part.examples[1][index]
        assert any(not torch.equal(one, other) for one, other in zip(engine(*mixed), first))
    assert all(torch.equal(one, other) for one, other in zip(engine(*part.examples[0]), first))
    assert next(part.module.parameters()).dtype == torch.float32, "the model is as it was"


def test_on_a_cpu_it_runs_the_model_s_own_module_as_ever(part: SubModel) -> None:
    engine = Eager(part, "cpu", "fp32", Path())
    with torch.inference_mode():
        for given, wanted in zip(engine(*part.examples[0]), part.module(*part.examples[0])):
            assert torch.equal(given, wanted)


def test_an_image_of_a_camera_s_size_is_fitted_in(part: SubModel) -> None:
    engine = Eager(part, BUFFERED, "fp32", Path())
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    others = part.examples[0][1:]
    fitted = torch.from_numpy(resize(image, (12, 16), "pad"))[None]
    for given, wanted in zip(engine(torch.from_numpy(image)[None], *others), engine(fitted, *others)):
        assert torch.equal(given, wanted)  # these sizes halve exactly
    with pytest.raises(ValueError, match=r"halve an image of 40 × 25 .* to 16 × 12 with core.images.resize"):
        engine(torch.zeros(1, 25, 40, 3, dtype=torch.uint8), *others)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Eager], None]:
    """Gives an engine a stream that a CPU's memory stands in for."""
    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False, **more: empty(*shape, **more))

    def with_stream(engine: Eager) -> None:
        engine._stream = MagicMock()

    return with_stream


def test_what_no_graph_can_record_runs_kernel_by_kernel_with_a_sentence(
        part: SubModel, graphs: Callable[[Eager], None], monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def refuses(graph: object, **more: object):
        yield
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", MagicMock())
    monkeypatch.setattr(torch.cuda, "graph", refuses)
    engine = Eager(part, BUFFERED, "fp32", Path())
    graphs(engine)
    assert max(compare(part, engine, "fp32").values()) <= TOLERANCE["fp32"]
    assert engine.notes == ["look runs kernel by kernel, not as a CUDA graph: RuntimeError: operation not permitted when "
                            "stream is capturing"], "once, for one row and for a batch"


@pytest.mark.parametrize("computes", ["nothing", "the same", "something else"])
def test_a_graph_is_held_against_the_same_without_one(part: SubModel, graphs: Callable[[Eager], None],
                                                      monkeypatch: pytest.MonkeyPatch, computes: str) -> None:
    recorded: list[Callable[[], None]] = []

    class Graph:
        def replay(self) -> None:
            if computes != "nothing":
                replayed()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **more: nullcontext())
    engine = Eager(part, BUFFERED, "fp32", Path())
    graphs(engine)
    made = buffered

    def keeping(run: Callable[..., Sequence[Tensor]], *more: object) -> object:
        kept = made(run, *more)
        recorded.append(kept._work)
        if computes == "something else":
            recorded.append(lambda: kept._buffers.outputs[0].add_(0.1))
        return kept

    def replayed() -> None:
        for work in recorded:
            work()

    monkeypatch.setattr("vla_ros.engines.eager.buffered", keeping)
    outputs = engine(*part.examples[0])
    for given, wanted in zip(outputs, Eager(part, BUFFERED, "fp32", Path())(*part.examples[0])):
        assert torch.equal(given, wanted)
    why = {"nothing": "its seen has values that are no finite numbers", "the same": "",
           "something else": "its seen differs from the model's by"}[computes]
    assert len(engine.notes) == bool(why) and why in "".join(engine.notes)


# -- a serialized engine between buffers ---------------------------------------------------------------------------
class Doubles:
    """TensorRT as far as a serialized engine asks it, and an engine that doubles its only input."""

    Logger = MagicMock()
    num_io_tensors = 2
    contexts = 0

    def Runtime(self, logger: object) -> Doubles:
        return self

    def deserialize_cuda_engine(self, data: bytes) -> Doubles | None:
        return self if data == b"engine" else None

    def get_tensor_name(self, index: int) -> str:
        return ("given", "doubled")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "given" else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> str:
        return "DataType.FLOAT"

    def create_execution_context(self) -> SimpleNamespace:
        self.contexts += 1
        state: dict[str, object] = {}

        def execute_async_v3(stream: object) -> bool:
            shape = state["given shape"]
            count = int(np.prod(shape))
            source, target = (np.ctypeslib.as_array((ctypes.c_float * count).from_address(state[name]))
                              for name in ("given", "doubled"))
            target[:] = 2.0 * source
            return True

        return SimpleNamespace(
            set_input_shape=lambda name, shape: state.update({f"{name} shape": shape}) is None,
            get_tensor_shape=lambda name: state["given shape"],
            set_tensor_address=lambda name, address: state.update({name: address}) is None,
            execute_async_v3=execute_async_v3)


def test_a_serialized_engine_has_a_context_and_buffers_for_each_set_of_shapes(
        tmp_path: Path, graphs: Callable[[Eager], None], monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[Callable[[], None]] = []

    class Graph:
        def replay(self) -> None:
            self.work()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: MagicMock(device="cpu"))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **more: nullcontext())
    record = BufferedRun.record

    def recording(run: BufferedRun) -> None:
        record(run)
        run._graph.work = run._work
        recorded.append(run._work)

    monkeypatch.setattr(BufferedRun, "record", recording)
    library = Doubles()
    part = SubModel("doubles", nn.Identity(), ("given",), ("doubled",), ((torch.zeros(1, 3),),), "weights", (1, 2))
    (tmp_path / "engine").write_bytes(b"engine")
    engine = SerializedEngine(library, tmp_path / "engine", part, "cuda")
    for rows in (1, 2, 1):
        given = torch.rand(rows, 3)
        assert torch.equal(engine(given)[0], 2.0 * given)
    assert library.contexts == len(recorded) == 2
    (tmp_path / "engine").write_bytes(b"another")
    with pytest.raises(ValueError, match="is no engine of"):
        SerializedEngine(MagicMock(__name__="tensorrt", Runtime=library.Runtime), tmp_path / "engine", part, "cuda")


# -- the image -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("camera", [(480, 640), (720, 1280), (1080, 1920), (100, 100), (96, 128), (60, 80)])
@pytest.mark.parametrize("size", [(120, 160), (224, 224), (136, 240)])
def test_the_device_fits_an_image_in_as_the_cpu_does_within_one_grey_level(camera: tuple[int, int],
                                                                           size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*camera, 3), np.uint8)  # the worst: noise
    assert halves_evenly(camera, size)
    boxed = letterbox(torch.from_numpy(image)[None], size)
    assert boxed.shape == (1, *size, 3) and boxed.dtype == torch.uint8
    assert np.abs(boxed[0].numpy().astype(int) - resize(image, size, "pad")).max() <= 1


@pytest.mark.parametrize(("camera", "evenly"), [
    ((481, 640), False), ((480, 641), False), ((240, 320), True), ((449, 448), True), ((450, 450), True), ((451, 451), False)])
def test_where_opencv_would_weigh_fractions_of_pixels_the_device_says_so(camera: tuple[int, int], evenly: bool) -> None:
    assert halves_evenly(camera, (224, 224)) == evenly
