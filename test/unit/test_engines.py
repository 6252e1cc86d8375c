"""The engine that was wished for, or the next one: built once, compared, kept, and rebuilt when anything changed."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="engines run torch's models")

import fake_engines as fake
from torch import Tensor, nn

from vla_ros.core.registry import lookup
from vla_ros.engines import ENGINES, PRECISIONS
from vla_ros.engines.accuracy_check import TOLERANCE, Differs, compare
from vla_ros.engines.ahead import BuiltAhead, build_ahead, targets_of
from vla_ros.engines.base import SubModel
from vla_ros.engines.cache import ENTRY_FILE, RUNTIME_FOLDER, Cache, default_folder, key_of
from vla_ros.engines.select import EngineRequest, load_engine


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, ...]:
        return self.linear(one), torch.relu(one) + other


@pytest.fixture
def part() -> SubModel:
    generator = torch.Generator().manual_seed(0)
    examples = tuple((torch.randn(1, 4, generator=generator), torch.randn(1, 4, generator=generator)) for _ in range(5))
    torch.manual_seed(0)
    return SubModel("twice", Twice().eval(), ("one", "other"), ("linear", "sum"), examples, "weights-1")


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("Good", "Ahead", "AheadWrong", "Missing", "Broken", "Off", "Wrong", "NotANumber", "Slow", "Noted"):
        monkeypatch.setitem(ENGINES, name.lower(), f"fake_engines:{name}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake.Good.built.clear()
    fake.Good.loaded.clear()
    yield


def request(engine: str, *fallbacks: str, **more: object) -> EngineRequest:
    return EngineRequest(engine, fallbacks=fallbacks, device="cpu", **more)  # type: ignore[arg-type]


# -- the cache -----------------------------------------------------------------------------------------------
def test_the_second_time_it_comes_from_the_cache(part: SubModel) -> None:
    first, again = load_engine(part, request("good")), load_engine(part, request("good"))
    assert (first.cached, again.cached) == (False, True) and fake.Good.built == ["twice"]
    assert all(torch.equal(one, other) for one, other in zip(again.engine(*part.examples[0]), part.module(*part.examples[0])))
    assert str(again).startswith("good fp32, from the cache in 0.0") and first.notes == again.notes == []


@pytest.mark.parametrize("change", ["key", "name", "shape", "batch", "outputs", "version", "engine"])
def test_whatever_it_depends_on_changed_it_is_built_anew(part: SubModel, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    load_engine(part, request("good"))
    if change == "version":
        monkeypatch.setattr(fake.Good, "version", "2")
    shorter = tuple((one[:, :4].repeat(2, 1), other.repeat(2, 1)) for one, other in part.examples)
    other = {"key": replace(part, key="weights-2"), "name": replace(part, name="thrice"),
             "shape": replace(part, examples=shorter),
             "batch": replace(part, batch=(1, 2)), "outputs": replace(part, outputs=("a", "b"))}.get(change, part)
    assert not load_engine(other, request("off" if change == "engine" else "good")).cached
    assert len(fake.Good.built) == 2


def entry_of(name: str = ENTRY_FILE) -> Path:
    return next(default_folder().glob(f"[!.]*/{name}"))


@pytest.mark.parametrize("damage", ["shorter", "other", "gone", "no entry", "entry cut", "entry of another kind"])
def test_an_entry_that_is_not_as_it_was_written_is_built_anew(part: SubModel, damage: str) -> None:
    load_engine(part, request("good"))
    file, entry = entry_of("engine.bin"), entry_of()
    if damage == "gone":
        file.unlink()
    elif damage == "no entry":
        entry.unlink()
    elif damage == "entry cut":
        entry.write_bytes(entry.read_bytes()[:40])
    elif damage == "entry of another kind":
        entry.write_text("[]")
    else:
        file.write_bytes(b"engine" * 99 + (b"" if damage == "shorter" else b"enginf"))
    assert not load_engine(part, request("good")).cached and load_engine(part, request("good")).cached


def test_a_whole_entry_that_does_not_load_is_built_anew(part: SubModel) -> None:
    load_engine(part, request("good"))
    file, entry, said = entry_of("engine.bin"), entry_of(), []
    file.write_bytes(b"of another library")
    known = json.loads(entry.read_text())
    from vla_ros.engines.cache import _hash
    entry.write_text(json.dumps(known | {"files": {"engine.bin": _hash(file)}}))
    assert not load_engine(part, request("good"), said.append).cached
    assert "does not load (ValueError: these are not the bytes" in said[0] and len(fake.Good.built) == 2


def test_what_a_killed_builder_left_goes_with_the_next_build(part: SubModel) -> None:
    load_engine(part, request("good"))
    entry_of().unlink()
    left = default_folder() / f".{next(default_folder().glob('[!.]*')).name}.abcd"
    left.mkdir()
    load_engine(part, request("good"))
    assert not left.exists() and len(list(default_folder().glob("[!.]*"))) == 1


def test_two_that_start_at_once_build_once(part: SubModel) -> None:
    said: list[str] = []
    both = [threading.Thread(target=load_engine, args=(part, request("slow"), said.append)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert fake.Good.built == ["twice"]
    assert sorted(said) == ["another process builds this engine; waiting for it", "building engine slow (fp32) for twice"]


def test_a_lock_of_a_process_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    holder = ("import sys, time; from pathlib import Path; from vla_ros.engines.cache import Cache\n"
              "with Cache(Path(sys.argv[1]), 1).lock('k', print): print('held', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        threading.Timer(0.5, process.kill).start()
        waited: list[bool] = []
        with Cache(tmp_path, 1).lock("k", lambda: waited.append(True)):
            assert waited == [True]


@pytest.mark.parametrize(("limit", "left"), [(3000, {"b", "c"}), (4500, {"a", "b", "c"}), (10, {"c"})])
def test_past_its_limit_the_longest_unused_go_and_the_newest_stays(tmp_path: Path, limit: int, left: set[str]) -> None:
    cache = Cache(tmp_path, limit)

    def build(folder: Path) -> dict[str, str]:
        (folder / "file").write_bytes(b"0" * 1000)
        return {}
    for age, key in ((300, "b"), (200, "a"), (0, "c")):
        folder, _ = Cache(tmp_path, 1 << 30).put(key, build)
        when = os.stat(folder).st_mtime - age
        os.utime(folder / ENTRY_FILE, (when, when))
    assert cache.find("b")  # used just now
    cache._shrink("c")
    assert {path.name for path in tmp_path.glob("[!.]*")} == left


def test_an_entry_with_one_byte_changed_is_not_found(tmp_path: Path) -> None:
    """It might load all the same, and compute something else."""
    cache = Cache(tmp_path, 1 << 30)

    def build(folder: Path) -> dict[str, str]:
        (folder / "file").write_bytes(b"0" * 1000)
        return {}
    folder, _ = cache.put("a", build)
    assert cache.find("a")
    (folder / "file").write_bytes(b"0" * 999 + b"1")
    assert cache.find("a") is None


def test_what_was_compiled_for_another_processor_is_another_entry(part: SubModel, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["vla_ros.engines.select"]

    def key() -> str:
        return key_of(module._depends(part, "eager", lookup(ENGINES, "eager", "engine"), "fp32", "cpu"))
    here = key()
    assert here == key()
    monkeypatch.setattr(module, "chip", lambda device: "another processor")
    assert key() != here


def test_a_key_names_every_value() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})


@pytest.mark.parametrize("kind", ["file", "full"])
def test_a_cache_that_cannot_be_written_is_told_and_done_without(part: SubModel, tmp_path: Path, kind: str,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("no folder")
    else:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")
        monkeypatch.setattr(Cache, "put", full)
    ready = load_engine(part, request("good", cache=str(place)))
    assert not ready.cached and ready.notes[0].endswith("; the engine is built at every start")
    assert ("cannot be written" if kind == "file" else "No space left") in ready.notes[0]


def test_none_is_no_cache(part: SubModel) -> None:
    assert load_engine(part, request("good", cache="none")).notes == [] and not default_folder().exists()


def test_what_an_engine_adds_while_it_runs_does_not_void_its_entry(tmp_path: Path) -> None:
    def build(folder: Path) -> dict[str, str]:
        (folder / RUNTIME_FOLDER).mkdir()
        (folder / RUNTIME_FOLDER / "kernels").write_text("kernels")
        return {}
    folder, _ = Cache(tmp_path, 1 << 30).put("a", build)
    (folder / RUNTIME_FOLDER / "kernels").write_text("more kernels")
    assert Cache(tmp_path, 1 << 30).find("a")


# -- built ahead -----------------------------------------------------------------------------------------------
def ahead(part: SubModel, folder: Path, target: str = "g1", engine: str = "ahead") -> BuiltAhead:
    return build_ahead(part, engine, target, "fp32", Cache(folder, 1 << 30))


@pytest.mark.parametrize("beside", [True, False])
def test_what_was_built_ahead_is_compared_once_and_then_comes_from_the_cache(part: SubModel, tmp_path: Path, beside: bool) -> None:
    folder = tmp_path / "checkpoint" / "engines" if beside else default_folder()
    first, again = ahead(part, folder), ahead(part, folder)
    assert (first.cached, again.cached, first.folder, first.size > 600) == (False, True, again.folder, True)
    wanted, said = request("ahead", beside=str(folder) if beside else ""), []
    before = (first.folder / ENTRY_FILE).read_text()
    assert not load_engine(part, wanted, said.append).cached
    assert said == ["comparing engine ahead (fp32) for twice, which was built ahead"]
    ready = load_engine(part, wanted, said.append)
    assert ready.cached and ready.difference == 0.0 and len(said) == 1 and fake.Good.built == ["g1"]
    assert ((first.folder / ENTRY_FILE).read_text() == before) == beside


def test_a_checkpoint_that_is_not_ours_to_write_is_read_all_the_same(part: SubModel, tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    ahead(part, tmp_path)

    def denied(path: object, **values: object) -> None:
        if not values:  # a copy's are given
            raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(os, "utime", denied)
    load_engine(part, request("ahead", beside=str(tmp_path), cache="none"))
    assert fake.Good.built == ["g1"]


def test_where_no_cache_is_wanted_what_lies_beside_the_checkpoint_is_used_all_the_same(part: SubModel, tmp_path: Path) -> None:
    ahead(part, tmp_path)
    load_engine(part, request("ahead", beside=str(tmp_path), cache="none"))
    assert fake.Good.built == ["g1"]


def test_what_was_built_ahead_for_another_gpu_or_precision_is_not_taken(part: SubModel) -> None:
    ahead(part, default_folder(), "b1")
    build_ahead(part, "ahead", "g1", "fp16", Cache(default_folder(), 1 << 30))
    load_engine(part, request("ahead"))
    assert fake.Good.built == ["b1", "g1", "twice"]  # the last one here


def test_what_was_built_ahead_with_another_version_is_not_taken(part: SubModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead(part, default_folder())
    monkeypatch.setattr(fake.Good, "version", "2")
    load_engine(part, request("ahead"))
    assert fake.Good.built == ["g1", "twice"]


def test_the_computer_that_built_it_does_not_matter(part: SubModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead(part, default_folder())
    monkeypatch.setattr("vla_ros.engines.select.chip", lambda device: "another processor")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    load_engine(part, request("ahead"))
    assert fake.Good.built == ["g1"]


def test_one_that_was_built_ahead_and_does_not_load_is_built_here(part: SubModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(part: SubModel, target: str, precision: str, folder: Path) -> None:
        (folder / "engine.bin").write_bytes(b"of another library")
    with monkeypatch.context() as patch:
        patch.setattr(fake.Ahead, "build_for", another)
        ahead(part, default_folder())
    said: list[str] = []
    load_engine(part, request("ahead"), said.append)
    assert "does not load (ValueError: these are not the bytes" in said[1] and fake.Good.built == ["twice"]
    assert load_engine(part, request("ahead")).cached


def test_one_that_was_built_ahead_and_computes_something_else_is_refused(part: SubModel) -> None:
    ahead(part, default_folder(), engine="aheadwrong")
    for _ in range(2):
        ready = load_engine(part, request("aheadwrong", "good"))
        assert ready.name == "good" and "Differs" in ready.notes[0]
    assert fake.Good.built == ["g1", "twice"]


def test_an_engine_that_is_a_program_is_never_taken_from_beside_a_checkpoint(part: SubModel, tmp_path: Path) -> None:
    load_engine(part, request("good", cache=str(tmp_path)))
    entry = next(tmp_path.glob(f"[!.]*/{ENTRY_FILE}"))
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"ahead": "g1"}))
    load_engine(part, request("good", beside=str(tmp_path)))
    assert fake.Good.built == ["twice", "twice"]


def test_what_came_with_it_but_its_own_files_is_left_behind(part: SubModel, tmp_path: Path) -> None:
    """Kernels that another computer compiled, say: nothing has compared them."""
    (ahead(part, tmp_path).folder / RUNTIME_FOLDER).mkdir()
    load_engine(part, request("ahead", beside=str(tmp_path)))
    assert entry_of().exists() and not (entry_of().parent / RUNTIME_FOLDER).exists()


@pytest.mark.parametrize("names, engine, sentence", [
    (["green", "red"], "ahead", "there is no target 'red'; known are green, blue"),
    (["green"], "good", "engine 'good' is built only on the computer that runs it")])
def test_a_target_that_there_is_not_is_a_sentence(names: list[str], engine: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        targets_of(names, engine)


def test_one_that_cannot_be_built_ahead_is_a_sentence(part: SubModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it runs fp32 and fp16, not bf16"):
        build_ahead(part, "ahead", "g1", "bf16", Cache(tmp_path, 1))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file cannot be written"):
        build_ahead(part, "ahead", "g1", "fp32", Cache(tmp_path / "file", 1))
    assert targets_of(["blue", "green"], "ahead") == {"blue": "b1", "green": "g1"}


# -- the next engine -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("engine", "why"), [
    ("missing", "its library is not installed"), ("broken", "RuntimeError: the compiler does not know this operator"),
    ("wrong", "Differs: its sum differs from the model's by 0.5 of the largest value; at fp32 at most 0.001 is allowed"),
    ("notanumber", "Differs: its sum has values that are no finite numbers")])
def test_one_that_cannot_be_had_is_told_and_the_next_takes_over(part: SubModel, engine: str, why: str) -> None:
    said: list[str] = []
    ready = load_engine(part, request(engine, "good"), said.append)
    assert ready.name == "good" and ready.notes == [f"engine {engine} (fp32) is not used for twice: {why}"]
    assert ready.notes[0] in said


def test_what_an_engine_says_of_itself_is_told(part: SubModel) -> None:
    heard: list[str] = []
    ready = load_engine(part, request("missing", "noted"), heard.append)
    assert len(ready.notes) == 2 and ready.notes[1] == heard[-1] == "it runs kernel by kernel"


def test_one_that_was_refused_is_not_built_again(part: SubModel) -> None:
    for _ in range(2):
        assert load_engine(part, request("wrong", "good")).name == "good"
    assert fake.Good.built == ["twice", "twice"]  # wrong once, good once


def test_where_none_is_left_every_reason_is_told(part: SubModel) -> None:
    with pytest.raises(ValueError, match="no engine runs twice: .*missing .*not installed; .*broken .*operator"):
        load_engine(part, request("missing", "broken"))


def test_a_fallback_that_lacks_the_precision_runs_at_fp32(part: SubModel) -> None:
    assert request("missing", "good", precision="int8").order == (("missing", "int8"), ("good", "fp32"))
    assert load_engine(part, request("missing", "good", precision="int8")).precision == "fp32"


@pytest.mark.parametrize("free, name", [(119.0, "eager"), (120.0, "good"), (121.0, "good")])
def test_where_its_memory_is_not_free_the_next_takes_over(part: SubModel, monkeypatch: pytest.MonkeyPatch, free: float,
                                                         name: str) -> None:
    monkeypatch.setattr("vla_ros.engines.select.free_memory", lambda: free)  # 4 x 3 weights and 3, of 4 bytes, twice
    ready = load_engine(part, request("good", "eager"))
    assert ready.name == name
    assert not ready.notes or "needs 0.00 GB of memory, and 0.00 GB are free; end what else runs" in ready.notes[0]


@pytest.mark.parametrize(("given", "sentence"), [
    ({"engine": "fast"}, "unknown engine 'fast'; known are: auto, eager"), ({"precision": "fp7"}, "precision is 'fp7'"),
    ({"fallbacks": ("slower",)}, "unknown engine 'slower'")])
def test_a_bad_wish_is_a_sentence(given: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        EngineRequest(**given)


# -- parity --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("share", "passes"), [(0.9, True), (1.1, False)])
def test_the_tolerance_is_the_precision_s(part: SubModel, precision: str, share: float, passes: bool) -> None:
    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        linear, total = part.module(*inputs)
        return linear, total + largest * TOLERANCE[precision] * share
    with torch.no_grad():
        largest = max(float(part.module(*example)[1].abs().max()) for example in part.examples)
    if passes:
        assert compare(part, run, precision)["sum"] == pytest.approx(TOLERANCE[precision] * share, rel=1e-2)
    else:
        with pytest.raises(Differs, match=r"its sum differs from the model's by .* at most"):
            compare(part, run, precision)


@pytest.mark.parametrize("change", [1.0, -1.0, float("nan"), float("-inf")])
def test_one_number_that_is_too_large_too_small_or_none_is_a_difference(part: SubModel, change: float) -> None:
    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        linear, total = part.module(*inputs)
        return linear, total.masked_fill(total == total.max(), change * 1e6)
    with pytest.raises(Differs, match="its sum (differs|has values that are no finite numbers)"):
        compare(part, run, "fp32")


def test_another_shape_is_refused(part: SubModel) -> None:
    with pytest.raises(Differs, match=r"its linear has shape \(5, 2\), the model's \(5, 3\)"):
        compare(part, lambda *inputs: tuple(one[:, :2] for one in part.module(*inputs)), "fp32")


@pytest.mark.parametrize("kept, count", [(slice(1), 1), (slice(0), 0), ([0, 1, 1], 3)])
def test_another_number_of_outputs_is_refused(part: SubModel, kept: slice | list[int], count: int) -> None:
    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = part.module(*inputs)
        return outputs[kept] if isinstance(kept, slice) else tuple(outputs[index] for index in kept)
    with pytest.raises(Differs, match=f"it has {count} outputs, the model 2"):
        compare(part, run, "fp32")


def test_one_that_is_right_about_single_rows_alone_is_refused(part: SubModel) -> None:
    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(one * (1 if len(one) == 1 else 2) for one in part.module(*inputs))
    assert compare(part, run, "fp32") == {"linear": 0.0, "sum": 0.0}
    with pytest.raises(Differs, match="its .* differs"):
        compare(replace(part, batch=(2, 3)), run, "fp32")


@pytest.mark.parametrize("batch", [(0, 1), (2, 1), (-1, -1)])
def test_a_batch_that_is_none_is_a_sentence(part: SubModel, batch: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"batch is \(.*\); give the rows that it is to be quickest with"):
        replace(part, batch=batch)


def test_examples_are_stacked_from_the_first_again(part: SubModel) -> None:
    assert torch.equal(part.stacked(6)[1], torch.cat([example[1] for example in (*part.examples, part.examples[0])]))


# -- the engines that are there ------------------------------------------------------------------------------
@pytest.mark.parametrize(("engine", "precision", "batch"), [
    ("eager", "fp32", (1, 1)), ("eager", "bf16", (2, 3)), ("onnxruntime", "fp32", (1, 1)), ("onnxruntime", "fp32", (2, 3)),
    ("onnxruntime", "int8", (1, 1)), ("inductor", "fp32", (2, 3))])
def test_a_real_engine_computes_what_the_model_does(part: SubModel, engine: str, precision: str, batch: tuple[int, int]) -> None:
    if why := lookup(ENGINES, engine, "engine").missing("cpu", precision):
        pytest.skip(why)
    part = replace(part, batch=batch)
    ready = load_engine(part, request(engine, precision=precision))
    assert (ready.name, ready.precision, ready.notes) == (engine, precision, [])
    for given in (*part.examples, *map(part.stacked, range(2, batch[1] + 1))):
        for one, other in zip(ready.engine(*given), part.module(*given)):
            assert one.shape == other.shape and torch.allclose(one, other, atol=TOLERANCE[precision] * 3)
    assert load_engine(part, request(engine, precision=precision)).cached
    if engine == "inductor":
        starts_without_the_compiler(next(default_folder().glob("*/part.pt2")).parent)


class Small(nn.Module):
    """A convolution of 1,843,200 multiply-adds, and a head with a 31st, a 32nd or a 33rd of that."""

    def __init__(self, share: int) -> None:
        super().__init__()
        self.look, self.head = nn.Conv2d(8, 16, 4, 4), nn.Linear(16, 1_843_200 // 16 // share)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        seen = self.look(image)
        return self.head(seen.mean((2, 3))), seen.flatten(2) @ seen.flatten(2).mT


@pytest.mark.parametrize(("share", "packed"), [(31, ["conv", "linear"]), (32, ["conv", "linear"]), (33, ["conv"])])
def test_int8_leaves_small_layers_and_products_without_weights_alone(tmp_path: Path, share: int, packed: list[str]) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    part = SubModel("small", Small(share).eval(), ("image",), ("head", "product"), ((torch.rand(1, 8, 120, 120),),), "")
    lookup(ENGINES, "onnxruntime", "engine").build(part, "cpu", "int8", tmp_path)  # type: ignore[attr-defined]
    graph = onnx.load(str(tmp_path / "part.onnx"), load_external_data=False).graph
    found = {"conv" for node in graph.node if node.op_type == "QLinearConv"}
    found |= {"linear" for node in graph.node if node.op_type == "QGemm"}
    assert sorted(found) == packed


def starts_without_the_compiler(folder: Path) -> None:
    """Importing it takes seconds."""
    start = ("import sys; from pathlib import Path; import torch; from vla_ros.engines.inductor import Inductor\n"
             "Inductor(None, 'cpu', 'fp32', Path(sys.argv[1]))(torch.zeros(1, 4), torch.zeros(1, 4))\n"
             "sys.exit('torch._inductor' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", start, str(folder)]).returncode == 0


@pytest.mark.parametrize(("engine", "precision", "why"), [
    ("tensorrt", "fp32", "torch_tensorrt and tensorrt not installed; which belong together is in doc/engines.md"),
    ("eager", "int8", "eager runs fp32, fp16, bf16, not int8"), ("eager", "fp16", "fp16 is for a GPU"),
    ("onnxruntime", "fp16", "onnxruntime runs fp32 and int8 on a CPU device here, not fp16")])
def test_why_one_cannot_run_here(part: SubModel, engine: str, precision: str, why: str) -> None:
    from importlib.util import find_spec

    if engine == "tensorrt" and find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed here")
    if engine == "onnxruntime":
        pytest.importorskip("onnxruntime")
    ready = load_engine(part, request(engine, "good", precision=precision))
    assert why in ready.notes[0] and ready.name == "good"
