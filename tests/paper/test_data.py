"""Data come whole from their real formats, are split by the seed, and only tests are clean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.datasets import CIFAR10

from examples.paper import ExperimentError
from examples.paper.configs import CIFAR10 as CIFAR10_CONFIG
from examples.paper.configs import DIGITS, FASHION, SVHN, Config
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
    assert torch.equal(wrong_labels(labels, "pair-flip", 0.0, 0), labels)


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
