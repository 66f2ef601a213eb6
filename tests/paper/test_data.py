"""Data come whole from their real formats, are split by the seed, and only tests are clean."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from examples.paper import ExperimentError
from examples.paper.configs import CIFAR10 as CIFAR10_CONFIG
from examples.paper.configs import CONFIGS, DIGITS, FASHION, SVHN, Config
from examples.paper.data import augment, load, make_split, wrong_labels

PER_CLASS_BRIGHTNESS = 20  # how `tests.paper.datasets` draws a class


@pytest.mark.parametrize(
    ("dataset", "n_known", "shape"),
    [
        ("cifar10", 20, (3, 32, 32)),
        ("svhn", 20, (3, 32, 32)),  # train and extra
        ("fashion-mnist", 60, (1, 28, 28)),
    ],
)
def test_images_keep_their_labels_on_the_way_from_the_files(
    data_root: Path, dataset: str, n_known: int, shape: tuple[int, ...]
) -> None:
    loaded = load(dataset, data_root)
    assert loaded.test is not None
    assert len(loaded.known[1]) == n_known
    for pixels, labels in (loaded.known, loaded.test):
        assert pixels.shape[1:] == shape
        assert pixels.dtype == torch.uint8
        brightness = pixels.float().mean((1, 2, 3)).div(PER_CLASS_BRIGHTNESS).floor().long()
        assert torch.equal(brightness, labels)


def test_cifar10s_planes_are_read_in_the_files_order(data_root: Path) -> None:
    pixels, _ = load("cifar10", data_root).known
    raw = CIFAR10(str(data_root)).data[3]  # rows, columns, channels
    assert torch.equal(pixels[3], torch.from_numpy(raw).permute(2, 0, 1))


@pytest.mark.parametrize(
    "config",
    [
        replace(CIFAR10_CONFIG, n_validation=5),
        replace(SVHN, n_validation=5),
        replace(FASHION, n_train=40, n_validation=5),
        DIGITS,
    ],
    ids=lambda config: config.dataset,
)
def test_a_split_is_the_seeds_and_its_training_pixels_are_normalised(
    data_root: Path, config: Config
) -> None:
    split, again = make_split(config, 1, data_root), make_split(config, 1, data_root)
    other = make_split(config, 2, data_root)
    assert len(split.validation[1]) == config.n_validation
    assert torch.equal(split.train[0], again.train[0])
    assert not torch.equal(split.train[0], other.train[0])
    for channel in split.train[0].unbind(1):
        assert float(channel.mean()) == pytest.approx(0, abs=1e-4)
        assert float(channel.std()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", ["symmetric", "pair-flip"])
def test_labels_are_wrong_where_arms_learn_and_choose_and_right_where_they_are_measured(
    kind: str,
) -> None:
    noisy_config = replace(DIGITS, noise=kind, noise_rate=0.4)  # type: ignore[arg-type]
    clean, noisy = make_split(DIGITS, 0, Path()), make_split(noisy_config, 0, Path())
    assert all(map(torch.equal, clean.test, noisy.test))
    changed = torch.cat(
        [clean.train[1] != noisy.train[1], clean.validation[1] != noisy.validation[1]]
    )
    assert int(changed.sum()) == round(0.4 * len(changed))
    if kind == "pair-flip":
        wrong = clean.train[1] != noisy.train[1]
        assert torch.equal((clean.train[1][wrong] + 1) % 10, noisy.train[1][wrong])
    else:
        assert len((noisy.train[1] - clean.train[1]).unique()) > 10


def test_no_noise_changes_no_label() -> None:
    labels = torch.arange(50) % 10
    pixels = torch.ones(50, 1, 2, 2, dtype=torch.uint8)
    for kind in ("symmetric", "pair-flip", "instance-dependent"):
        assert torch.equal(wrong_labels(pixels, labels, kind, 0.0, 0), labels)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
def test_labels_that_the_image_decides_are_wrong_at_about_the_rate(rate: float) -> None:
    pixels = torch.randint(0, 256, (20_000, 1, 3, 3), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20_000) % 10
    noisy = wrong_labels(pixels.byte(), labels, "instance-dependent", rate, 3)
    truncated = np.random.default_rng(0).normal(rate, 0.1, 100_000)
    expected = truncated[(truncated >= 0) & (truncated <= 1)].mean()
    assert float((noisy != labels).float().mean()) == pytest.approx(expected, abs=0.01)
    again = wrong_labels(pixels.byte(), labels, "instance-dependent", rate, 3)
    assert torch.equal(noisy, again)
    assert noisy.dtype == labels.dtype
    assert not torch.equal(
        noisy, wrong_labels(pixels.byte(), labels, "instance-dependent", rate, 4)
    )


def test_labels_that_the_image_decides_are_drawn_as_the_algorithm_says() -> None:
    """One image at a time, from the same stream of random numbers."""
    pixels = torch.randint(0, 256, (60, 1, 2, 2), generator=torch.Generator().manual_seed(0)).byte()
    labels = torch.arange(60) % 10
    noisy = wrong_labels(pixels, labels, "instance-dependent", 0.9, 7)
    rng = np.random.default_rng(7)
    flips = rng.normal(0.9, 0.1, 60)
    while any(q > 1 for q in flips):
        flips[flips > 1] = rng.normal(0.9, 0.1, int((flips > 1).sum()))
    x = pixels.flatten(1).numpy() / float(pixels.max())
    for label in range(10):
        weights = rng.standard_normal((4, 10))
        for i in range(label, 60, 10):
            odds = {k: math.exp(x[i] @ weights[:, k]) for k in range(10) if k != label}
            total = sum(odds.values())
            chance, reached = rng.random(), 0.0
            for k in range(10):
                reached += 1 - flips[i] if k == label else flips[i] * odds[k] / total
                if reached > chance:
                    break
            assert int(noisy[i]) == k


def test_images_that_look_alike_get_the_same_wrong_class() -> None:
    patterns = torch.randint(0, 256, (2, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    pixels = patterns.repeat(3_000, 1, 1, 1).byte()
    noisy = wrong_labels(
        pixels, torch.zeros(6_000, dtype=torch.int64), "instance-dependent", 0.3, 0
    )
    for kind in (noisy[::2], noisy[1::2]):
        shares = torch.bincount(kind[kind != 0], minlength=10) / (kind != 0).sum()
        assert float(shares.max()) > 0.5  # of nine classes: 1/9 where the image does not decide
    assert (
        noisy[::2].bincount(minlength=10) - noisy[1::2].bincount(minlength=10)
    ).abs().sum() > 900


def test_the_shares_of_the_configs_are_those_that_the_page_names() -> None:
    rates = {name: (config.noise, config.noise_rate) for name, config in CONFIGS.items()}
    assert rates["digits-noisy"] == ("symmetric", 0.4)
    assert rates["digits-pair-flip-20"] == rates["fashion-5000-pair-flip-20"] == ("pair-flip", 0.2)
    instance = ("instance-dependent", 0.3)
    assert rates["digits-instance"] == rates["fashion-5000-instance"] == instance


def test_augmentation_mirrors_and_moves_and_does_nothing_else() -> None:
    image = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8)
    moved = augment(image.expand(4_000, 1, 8, 8), torch.Generator().manual_seed(0))
    n_mirrored = 0
    for picture in moved[:, 0]:
        there = picture > 0
        kept = picture[there].reshape(int(there.any(1).sum()), int(there.any(0).sum()))
        assert len(kept) >= 4
        assert kept.shape[1] >= 4
        if mirrored := bool(kept[0, 1] < kept[0, 0]):
            kept = kept.flip(1)
        n_mirrored += mirrored
        top, left = divmod(int(kept[0, 0]) - 1, 8)
        assert torch.equal(kept, image[0, 0, top : top + len(kept), left : left + kept.shape[1]])
    assert n_mirrored / len(moved) == pytest.approx(1 / 2, abs=0.03)
    share_at_its_place = float((moved[:, 0] > 0).all(2).all(1).float().mean())
    assert share_at_its_place == pytest.approx(1 / 81, abs=0.007)  # one of 9 × 9 places


def test_the_generator_decides_the_augmentation() -> None:
    images = torch.randn(16, 3, 32, 32)
    once, again = (augment(images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(once, again)


def test_a_missing_data_set_says_what_was_looked_for_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(ExperimentError, match=rf"'cifar10' is not in {tmp_path}"):
        load("cifar10", tmp_path)


def test_a_config_for_more_images_than_there_are_says_how_many(data_root: Path) -> None:
    with pytest.raises(ExperimentError, match=r"15000 training and 5000 validation.*has 60"):
        make_split(FASHION, 0, data_root)
