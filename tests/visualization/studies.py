"""Small studies with every kind of trial, whose pictures are tested."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Literal, TypeAlias

import optuna
from optuna import Study, Trial
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.samplers import ask_generation

__all__ = ["STUDIES", "Direction", "eight_trials", "study_of", "theta_study"]

Direction: TypeAlias = Literal["maximize", "minimize"]


def suggest(trial: Trial) -> None:
    """Suggest a variable of every kind."""
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    trial.suggest_int("width", 1, 8)
    trial.suggest_categorical("optimizer", ["sgd", "adam", None])


def study_of(
    outcomes: str,
    *,
    sampler: EPBTSampler | PBTSampler | None = None,
    direction: Direction = "maximize",
) -> Study:
    """Run a study with one trial for each letter.

    Complete with the number as the value, Infinite, Huge of either sign, Pruned, Failed, or
    Running for ever.
    """
    sampler = sampler or EPBTSampler(4, seed=0)
    study = optuna.create_study(direction=direction, sampler=sampler, study_name="a <b> study")
    for number, outcome in enumerate(outcomes):
        trial = study.ask()
        suggest(trial)
        for step in range(2):
            trial.report(float(number), step)
        if outcome in "CIH":
            huge = (-1) ** number * sys.float_info.max
            study.tell(trial, {"C": float(number), "I": math.inf, "H": huge}[outcome])
        elif outcome in "PF":
            study.tell(trial, state=TrialState.PRUNED if outcome == "P" else TrialState.FAIL)
    return study


def eight_trials() -> Study:
    """Return a maximising study with p = 4 and k = 2: two whole generations and two trials.

    Generation 0 is trials 0 to 3, of which 1 was pruned; M_0 is {3, 2, 0} and its elites are 3
    and 2. Generation 1 is trials 4 and 5, of which 5 failed; M_1 is {4, 3, 2}, its elites are 4
    and 3. Generation 2 is trial 6, which completed, and trial 7, which still runs.
    """
    return study_of("CPCCCFCR")


def theta_study(n_trials: int = 8, *, reports: int = 1) -> Study:
    """Return a study that evolves TaylorGLO losses."""
    from epbt_optuna import TaylorGLOLoss

    study = optuna.create_study(
        direction="maximize", sampler=EPBTSampler(4, seed=0), study_name="losses"
    )
    for number in range(n_trials):
        trial = study.ask()
        TaylorGLOLoss.suggest(trial)
        for step in range(reports):
            trial.report(float(number), step)
        study.tell(trial, float(number))
    return study


def waiting() -> Study:
    study = study_of("CCCC")
    study.enqueue_trial({"lr": 0.1})
    return study


def whole_generations() -> Study:
    study = study_of("")
    for _ in range(3):
        for trial in ask_generation(study):
            suggest(trial)
            study.tell(trial, 1.0)
    return study


STUDIES: dict[str, Callable[[], Study]] = {
    "one trial": lambda: study_of("C"),
    "one failed trial": lambda: study_of("F"),
    "one running trial": lambda: study_of("R"),
    "only failed and pruned": lambda: study_of("FPFPFF"),
    "every state": eight_trials,
    "a waiting trial": waiting,
    "minimising": lambda: study_of("CPCCCFCR", direction="minimize"),
    "infinite fitness": lambda: study_of("CICCICCC", direction="minimize"),
    "only infinite fitness": lambda: study_of("IIIIII"),
    "huge fitness": lambda: study_of("CHHCCHCC"),
    "only huge fitness": lambda: study_of("HHHHHH"),
    "equal fitness": whole_generations,
    "PBT": lambda: study_of("CCCCCPCC", sampler=PBTSampler(4, seed=0)),
}
