"""Statistics against numpy, whatever the batches."""
import numpy as np
import pytest

from vla_ros.datasets import statistics
from vla_ros.datasets.statistics import (
    QUANTILES,
    Normaliser,
    PixelStatistics,
    RunningStatistics,
    least_deviation,
    summarise,
)


def assert_same(found, rows, quantile_error=1e-12):
    for name, right in {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}.items():
        np.testing.assert_allclose(found[name], right, rtol=1e-6, atol=1e-12, err_msg=name)
    for name, share in QUANTILES.items():
        np.testing.assert_allclose(found[name], np.quantile(rows, share, axis=0), atol=quantile_error, err_msg=name)
    assert found["count"].tolist() == [len(rows)]


@pytest.mark.parametrize("batches", [[1], [1, 1, 5], [100], [3, 400, 1, 96]])
def test_running_statistics_are_numpy_s(batches):
    rows = np.random.default_rng(1).normal([0.0, 1e6, -3.0], [1.0, 1e-2, 0.0], (sum(batches), 3))
    running = RunningStatistics(3)
    for batch in np.split(rows, np.cumsum(batches)[:-1]):
        running.update(batch)
    assert_same(running.summary(), rows)
    assert_same(summarise(rows), rows)


def test_beyond_the_sample_quantiles_are_near(monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLE_ROWS", 2000)
    rows = np.random.default_rng(2).uniform(0.0, 1.0, (30_000, 2))
    rows[:, 1] = np.sort(rows[:, 1])  # a trend: a sample of the first or the last would be far off
    running = RunningStatistics(2)
    for batch in np.array_split(rows, 37):
        running.update(batch)
    assert_same(running.summary(), rows, quantile_error=0.04)  # 3.6 sigma of a rank among 2000


@pytest.mark.parametrize("rows, sentence", [
    (np.zeros((0, 2)), "at least one row"), (np.zeros((3, 4)), "rows x 2"), (np.zeros(2), "rows x 2"),
    (np.array([[0.0, 1.0], [np.nan, 1.0]]), "row 1, column 0 is nan"), (np.array([[0.0, -np.inf]]), "column 1 is -inf")])
def test_rows_that_do_not_fit_are_refused(rows, sentence):
    running = RunningStatistics(2)
    with pytest.raises(ValueError, match=sentence):
        running.update(rows)
    with pytest.raises(ValueError, match="no rows"):
        running.summary()


def test_pixels_are_numpy_s_between_0_and_1():
    images = np.random.default_rng(3).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
    images[..., 2] = 7
    first, second = PixelStatistics(), PixelStatistics()
    for index, image in enumerate(images):
        (first if index < 2 else second).update(image)
    first.merge(second)
    found = first.summary()
    assert found["count"].tolist() == [5] and all(found[name].shape == (3, 1, 1) for name in found if name != "count")
    flat = {name: value.ravel() for name, value in found.items()}
    rows = images.reshape(-1, 3) / 255.0
    flat["count"] = np.array([len(rows)])
    assert_same(flat, rows)


def test_large_images_are_thinned_evenly():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 320:] = 200
    pixels = PixelStatistics()
    pixels.update(image)
    assert pixels.counts.sum() == 3 * 120 * 160
    assert pixels.summary()["mean"].ravel() == pytest.approx(100 / 255)


@pytest.mark.parametrize("mode, low, high", [("mean_std", None, None), ("min_max", -1, 1), ("quantiles", None, None)])
def test_a_normaliser_undoes_itself_and_spreads_as_it_says(mode, low, high):
    rows = np.random.default_rng(4).normal([0.2, -5.0, 3.0], [0.1, 2.0, 0.0], (500, 3)).astype(np.float32)
    stats = summarise(rows)
    normaliser = Normaliser.of(stats, mode)
    scaled = normaliser.apply(rows)
    np.testing.assert_allclose(normaliser.undo(scaled), rows, atol=1e-5)
    assert np.allclose(scaled[:, 2], 0.0, atol=1e-5)  # it never changes: no division by zero
    if mode == "mean_std":
        assert np.allclose(scaled[:, :2].mean(0), 0, atol=1e-4) and np.allclose(scaled[:, :2].std(0), 1, atol=1e-3)
    elif mode == "min_max":
        assert np.allclose(scaled[:, :2].min(0), low) and np.allclose(scaled[:, :2].max(0), high)
    else:
        assert np.allclose(np.quantile(scaled[:, :2], [0.01, 0.99], axis=0), [[-1, -1], [1, 1]], atol=1e-4)


def test_an_unknown_normalisation_is_a_sentence():
    with pytest.raises(ValueError, match="'zscore'; use one of mean_std, min_max, quantiles"):
        Normaliser.of({}, "zscore")


@pytest.mark.parametrize(("low", "high", "least"), [
    (-3.1, 3.1, 0.01), (0.0, 1.0, 0.01), (-0.5, 0.5, 0.01), (0.0, 0.0, 0.01),  # rad, a gripper, m/s
    (-180.0, 90.0, 0.2865), (0.0, 100.0, 0.1592), (0.0, 4095.0, 6.517)])  # degrees, per cent, ticks
def test_the_least_deviation_grows_with_the_unit(low, high, least):
    assert least_deviation({"min": np.array([low, 0.0]), "max": np.array([0.0, high])}) == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("std, scale", [(0.0, 1.0), (1e-6, 1.0), (2e-6, 2e-6), (5e-4, 5e-4)])
def test_a_number_that_never_changes_stays_in_its_unit_and_any_other_is_spread(std, scale):
    assert Normaliser.of({"mean": [0.0], "std": [std]}).scale.tolist() == pytest.approx([scale], rel=1e-6)


def test_quantiles_are_named_by_their_per_cents():
    stats = summarise(np.arange(101.0)[:, None])
    assert {name: float(stats[name][0]) for name in QUANTILES} == pytest.approx(
        {"q01": 1.0, "q10": 10.0, "q50": 50.0, "q90": 90.0, "q99": 99.0})
