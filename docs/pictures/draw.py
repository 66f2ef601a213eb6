"""Draw the pictures of docs/visualization.md from real runs: see its last section."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import optuna
import torch
from matplotlib import pyplot as plt
from PIL import Image

from epbt_optuna.journal import journal_storage
from epbt_optuna.visualization import matplotlib as pictures
from examples.digits import make_split
from examples.label_noise import STANDARD_LOSSES, Loss, accuracy, mlp, train_epoch

Curve = list[tuple[float, float]]


def read_study(folder: Path) -> optuna.Study:
    """Read the only study that a seed of the run left in its folder."""
    storage = journal_storage(folder / "study.log")
    return optuna.load_study(study_name=None, storage=storage)


def curve(loss_fn: Loss, seed: int, n_epochs: int) -> Curve:
    """Train one network on digits of which 40 % have wrong labels; return its test accuracies."""
    torch.manual_seed(seed)
    split, network = make_split(seed, 0.4), mlp(64, 128, 64)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    points: Curve = []
    for epoch in range(1, n_epochs + 1):
        train_epoch(network, optimizer, loss_fn, split.train, batch_size=64)
        points.append((epoch, 100 * accuracy(network, split.test)))
    return points


def save(name: str) -> None:
    """Save the open figure in 256 colours, which is a third of the bytes."""
    image = io.BytesIO()
    plt.savefig(image, dpi=75)
    quantized = Image.open(image).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    quantized.save(Path(__file__).parent / f"{name}.png", optimize=True)
    plt.close()


def main() -> None:
    """Draw all of them."""
    torch.set_num_threads(1)  # the networks are small: threads would wait for one another
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the digits run: it holds seed-0, seed-1, ...")
    studies = [read_study(folder) for folder in sorted(parser.parse_args().folder.glob("seed-*"))]
    pictures.plot_lineage(studies[0])
    save("lineage")
    pictures.plot_generations(studies[0])
    save("generations")
    pictures.plot_schedule(studies[0])
    save("schedule")
    runs = {f"run {number}": study for number, study in enumerate(studies, start=1)}
    pictures.plot_loss_functions(runs, scaled=True)
    save("loss_functions")
    curves = {
        name: [curve(loss_fn, seed, 30) for seed in range(5)]
        for name, loss_fn in STANDARD_LOSSES.items()
    }
    pictures.plot_comparison(curves, value_name="test accuracy (%)")
    save("comparison")


if __name__ == "__main__":
    main()
