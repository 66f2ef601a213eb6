"""What does pruning save? Paired runs of EPBT with and without `EPBTPruner`.

    python -m examples.pruning                   # digits, 40 % of the labels wrong
    python -m examples.pruning --data fashion    # Fashion-MNIST
    python -m examples.pruning --only-trainable --label-noise 0    # where nothing diverges

θ comes from [−10, 10]⁸, half of which cannot learn. Both runs of a pair share the seed, so the
data, the wrong labels and generation 0. Stopped at any point, the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table

from epbt_optuna import EPBTPruner
from examples import digits, fashion_mnist
from examples.evolving import evolve
from examples.label_noise import Report, Settings, accuracy, add_options
from examples.runner import run_jobs, summary

Outcome = dict[str, float]
NO_PRUNER = "no pruner"


def run_one(settings: Settings, seed: int, report: Report) -> Outcome:
    """Run one study; return what it cost and what came of it."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    split = settings.make_split(seed, settings.label_noise)
    study, best = evolve(settings, seed, split, report)
    trials = study.get_trials(deepcopy=False)
    return {
        "epochs": sum(len(trial.intermediate_values) for trial in trials),
        "pruned": sum(trial.state == TrialState.PRUNED for trial in trials),
        "accuracy": 100 * accuracy(best, split.test),
    }


def table_of(outcomes: dict[str, list[Outcome]], title: str) -> Table:
    table = Table(title=title)
    for heading in ("min_offspring", "epochs", "saved, %", "pruned", "accuracy, %", "by pairs"):
        table.add_column(heading, justify="right")
    plain = outcomes[NO_PRUNER]
    for name, runs in outcomes.items():
        epochs, n_pruned, accuracies = (
            summary([run[key] for run in runs]) for key in ("epochs", "pruned", "accuracy")
        )
        saved, gained = ("", "") if runs is plain else saved_and_gained(plain, runs)
        table.add_row(name, epochs, saved, n_pruned, accuracies, gained)
    return table


def saved_and_gained(plain: list[Outcome], pruned: list[Outcome]) -> tuple[str, str]:
    """Summarise what pruning changed, pair by pair."""
    pairs = list(zip(plain, pruned, strict=True))
    saved = [100 * (1 - with_it["epochs"] / without["epochs"]) for without, with_it in pairs]
    gained = [with_it["accuracy"] - without["accuracy"] for without, with_it in pairs]
    return summary(saved), summary(gained)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", choices=["digits", "fashion"], default="digits")
    fashion_mnist.add_data_options(parser, train=5_000, validation=2_500)
    parser.add_argument(
        "--min-offspring", type=float, nargs="+", default=[0.4], help="the pruner's; one arm each"
    )
    parser.add_argument("--only-trainable", action="store_true", help="θ that can learn")
    add_options(
        parser, label_noise=0.4, seeds=5, generations=20, epochs=4, paper=True,
        folder=Path("runs/pruning"),
    )  # fmt: skip
    options = parser.parse_args(arguments)
    data = digits if options.data == "digits" else fashion_mnist
    base = replace(data.settings_of(options), only_trainable=options.only_trainable)
    kind = f"{options.data}-{'trainable' if options.only_trainable else 'any'}"
    arms = {
        NO_PRUNER: replace(base, folder=base.folder / kind / "plain"),
        **{
            f"{least:g}": replace(
                base,
                folder=base.folder / kind / f"pruned-{least:g}",
                pruner=EPBTPruner(min_offspring=least),
            )
            for least in options.min_offspring
        },
    }
    jobs = [
        partial(run_one, settings, seed)
        for settings in arms.values()
        for seed in range(options.seeds)
    ]
    n_epochs = len(jobs) * base.n_epochs_of_evolution
    results = run_jobs(jobs, n_epochs, options.workers, base.folder / kind)
    outcomes = {
        name: results[i * options.seeds : (i + 1) * options.seeds] for i, name in enumerate(arms)
    }
    Console().print(
        table_of(outcomes, f"{base.folder.name}/{kind}, {options.seeds} pairs: mean ± sd")
    )


if __name__ == "__main__":
    main()
