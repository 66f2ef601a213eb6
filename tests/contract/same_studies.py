"""Studies that every version of the package must repeat, trial by trial, from the same seeds.

`python -m tests.contract.same_studies` writes what they are now into `same_studies.json`. Do that
only for a change that is meant to change what a seed gives; the changelog then says so.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

import epbt_optuna.parallel
from epbt_optuna import EPBTSampler, PBTSampler, ask_generation, resume
from epbt_optuna.journal import journal_storage
from tests.constraints import set_constraint

__all__ = ["RECORDED", "STUDIES", "Study", "as_recorded"]

RECORDED = Path(__file__).with_suffix(".json")

Study = Callable[[], optuna.Study]


def objective(trial: optuna.Trial) -> float:
    """Suggest a variable of each kind; no training, so nothing but the sampler decides."""
    x = trial.suggest_float("x", -10, 10)
    lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
    step = trial.suggest_float("step", 0, 1, step=0.125)
    n = trial.suggest_int("n", 1, 64, log=True)
    k = trial.suggest_int("k", -3, 12, step=3)
    kind = trial.suggest_categorical("kind", ["a", "b", None, 2])
    choices: list[Any] = ["a", "b", None, 2]
    penalty = [0.0, 1.0, 2.0, 0.5][choices.index(kind)]
    return x**2 + abs(lr - 0.1) + (step - 0.5) ** 2 + n / 64 + k**2 / 9 + penalty


def create(sampler: optuna.samplers.BaseSampler, **settings: Any) -> optuna.Study:
    return optuna.create_study(study_name="same", sampler=sampler, **settings)


def epbt() -> optuna.Study:
    study = create(EPBTSampler(12, n_elites=5, seed=1))
    study.optimize(objective, n_trials=12 + 4 * 7)
    return study


def pbt() -> optuna.Study:
    study = create(PBTSampler(8, exploit_fraction=0.3, seed=2))
    study.optimize(objective, n_trials=40)
    return study


def constrained() -> optuna.Study:
    def constrained_objective(trial: optuna.Trial) -> float:
        value = objective(trial)
        set_constraint(trial, "near", trial.params["x"] - 3)
        set_constraint(trial, "small", trial.params["n"] - 40)
        return -value

    study = create(EPBTSampler(10, seed=3), direction="maximize")
    study.optimize(constrained_objective, n_trials=35)
    return study


def pruned_and_failed() -> optuna.Study:
    def fragile(trial: optuna.Trial) -> float:
        value = objective(trial)
        trial.report(value, 0)
        if trial.number % 5 == 2:
            raise optuna.TrialPruned
        if trial.number % 7 == 3:
            raise RuntimeError("meant")
        return value

    study = create(EPBTSampler(10, n_elites=3, seed=4))
    study.optimize(fragile, n_trials=45, catch=(RuntimeError,))
    return study


def pruned_and_failed_pbt() -> optuna.Study:
    def fragile(trial: optuna.Trial) -> float:
        value = objective(trial)
        if trial.number % 6 == 1:
            raise optuna.TrialPruned
        return float("nan") if trial.number % 9 == 4 else value

    study = create(PBTSampler(9, seed=5))
    study.optimize(fragile, n_trials=45)
    return study


def enqueued() -> optuna.Study:
    study = create(EPBTSampler(8, n_elites=4, seed=6))
    for number in range(4):
        study.enqueue_trial({"x": float(number), "kind": "b"})
        study.optimize(objective, n_trials=5)
        study.enqueue_trial({"lr": 0.5})
        ask_and_tell(study)
    return study


def ask_and_tell(study: optuna.Study) -> None:
    for trial in ask_generation(study):
        study.tell(trial, objective(trial))


def feasible() -> optuna.Study:
    space = {
        "x": FloatDistribution(-10, 10),
        "lr": FloatDistribution(1e-4, 1.0, log=True),
        "n": IntDistribution(1, 64, log=True),
    }
    sampler = EPBTSampler(
        10, seed=7, feasible=lambda params: params["x"] > params["n"] / 16, search_space=space
    )
    study = create(sampler)
    study.optimize(objective, n_trials=30)
    return study


def conditional() -> optuna.Study:
    def branching(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
            return trial.suggest_float("momentum", 0, 1) + trial.suggest_float("sgd_lr", 0.1, 1)
        return trial.suggest_float("beta", 0.5, 1) * trial.suggest_int("warm", 1, 9)

    study = create(EPBTSampler(8, n_elites=2, seed=8))
    study.optimize(branching, n_trials=44)
    return study


def retried() -> optuna.Study:
    study = create(EPBTSampler(6, n_elites=3, seed=9))
    for number in range(30):
        trial = study.ask()
        value = objective(trial)
        if number % 8 == 6:  # cut off, and then run again
            resume(study, study.trials[trial.number])
        else:
            study.tell(trial, value)
    return study


def in_processes() -> optuna.Study:
    with tempfile.TemporaryDirectory() as folder:
        study = create(
            EPBTSampler(8, n_elites=4, seed=10), storage=journal_storage(Path(folder) / "log")
        )
        epbt_optuna.parallel.optimize(
            study, objective, n_generations=5, devices=["cpu"] * 3, show_progress_bar=False
        )
        copy = create(optuna.samplers.RandomSampler())
        copy.add_trials(study.get_trials())
    return copy


STUDIES: Mapping[str, Study] = {
    study.__name__: study
    for study in (
        epbt,
        pbt,
        constrained,
        pruned_and_failed,
        pruned_and_failed_pbt,
        enqueued,
        feasible,
        conditional,
        retried,
        in_processes,
    )
}


def as_recorded(study: optuna.Study) -> list[dict[str, Any]]:
    """Return what must stay the same of each trial, as JSON has it."""
    trials = [
        {
            "state": trial.state.name,
            "values": trial.values if trial.state == TrialState.COMPLETE else None,
            "params": trial.params,
            "lineage": [
                trial.system_attrs.get("epbt:lineage", {}).get(name)
                for name in ("generation", "parent", "mate")
            ],
        }
        for trial in study.get_trials()
    ]
    return json.loads(json.dumps(trials))  # type: ignore[no-any-return]


def main() -> None:
    """Record all studies."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    studies = {name: as_recorded(study()) for name, study in STUDIES.items()}
    lines = (
        f"{json.dumps(name)}: [\n" + ",\n".join(map(json.dumps, trials)) + "\n]"
        for name, trials in studies.items()
    )
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
