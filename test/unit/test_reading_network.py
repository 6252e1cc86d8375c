"""The heads that read: numpy does what torch was trained with."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.tasks.reading.network import Network, WordPieces, run_head, softmax
from vla_ros.tasks.reading.weights import as_bytes, lines


def test_numpy_and_torch_agree():
    torch = pytest.importorskip("torch")
    from vla_ros.training.words.head import WordHead

    torch.manual_seed(0)
    head = WordHead(32, 15).eval()
    rng = np.random.default_rng(0)
    words = rng.standard_normal((4, 9, 32)).astype(np.float32)
    mask = (np.arange(9) < np.array([9, 5, 1, 3])[:, None])[..., None].astype(np.float32)
    weights = {name: values.numpy() for name, values in head.state_dict().items()}
    with torch.no_grad():
        wanted = head(torch.from_numpy(words * mask), torch.from_numpy(mask)).numpy()
    assert run_head(weights, words * mask, mask) == pytest.approx(wanted, abs=1e-4)


def test_a_clause_is_read_alike_alone_and_beside_longer_ones():
    torch = pytest.importorskip("torch")
    from vla_ros.training.words.head import WordHead

    torch.manual_seed(0)
    weights = {name: values.numpy() for name, values in WordHead(16, 15).eval().state_dict().items()}
    table = np.random.default_rng(1).standard_normal((20, 16)).astype(np.float32)
    network = Network(table, [weights])
    alone = network([[3, 4]])
    beside = network([[3, 4], [5, 6, 7, 8, 9]])
    assert alone[0] == pytest.approx(beside[0], abs=1e-5)
    assert alone.shape == (1, 15)
    assert alone.sum() == pytest.approx(1.0)


def test_words_are_cut_into_the_longest_pieces():
    pieces = WordPieces(["[UNK]", "turn", "##ing", "##i", "left"])
    assert pieces.encode(["turning", "left"]) == [1, 2, 4]
    assert pieces.encode(["turnx"]) == [0]
    assert pieces.encode(["[item]"]) == [5]


def test_softmax_adds_to_one_for_large_scores():
    assert softmax(np.array([[1e4, 0.0]], np.float32)).tolist() == [[1.0, 0.0]]


def test_texts_are_stored_as_bytes():
    assert lines(as_bytes(["a", "b\u00b0", "c d"])) == ["a", "b\u00b0", "c d"]
