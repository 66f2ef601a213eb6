"""Draw the pictures of docs/visualization.md from real runs: see its last section."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import optuna
from matplotlib import pyplot as plt
from PIL import Image

from epbt_optuna.journal import journal_storage
from epbt_optuna.visualization import matplotlib as pictures


def read_study(folder: Path) -> optuna.Study:
    """Read the only study that a seed of the run left in its folder."""
    storage = journal_storage(folder / "study.log")
    return optuna.load_study(study_name=None, storage=storage)


def save(name: str) -> None:
    """Save the open figure in 256 colours, which is a third of the bytes."""
    image = io.BytesIO()
    plt.savefig(image, dpi=75)
    quantized = Image.open(image).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    quantized.save(Path(__file__).parent / f"{name}.png", optimize=True)
    plt.close()


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the digits run: it holds seed-0, seed-1, ...")
    studies = [read_study(folder) for folder in sorted(parser.parse_args().folder.glob("seed-*"))]
    pictures.plot_lineage(studies[0])
    save("lineage")
    pictures.plot_lineage(studies[0], color_by="founder")
    save("founders")
    pictures.plot_generations(studies[0])
    save("generations")
    pictures.plot_schedule(studies[0])
    save("schedule")
    runs = {f"run {number}": study for number, study in enumerate(studies, start=1)}
    pictures.plot_loss_functions(runs, scaled=True)
    save("loss_functions")


if __name__ == "__main__":
    main()
