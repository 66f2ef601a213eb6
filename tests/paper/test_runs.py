"""Every arm runs, on every config; a run that was cut off ends like one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from epbt_optuna import cross_entropy_like, is_trainable
from examples.label_noise import Part
from examples.paper import ExperimentError, training
from examples.paper.arms import ARMS, EMA, GENTLER, REPLAYED, SLOW, SWEEPS_CLEAN, SWEEPS_NOISY
from examples.paper.configs import CONFIGS, DIGITS, Config
from examples.paper.evolution import make_sampler
from examples.paper.genomes import founders
from examples.paper.jobs import run_job
from examples.paper.kinds import EPBTArm, PBTArm, SearchArm, SingleNetwork
from examples.paper.results import Job, Record, read_records, results_file
from examples.paper.training import Workbench

TINY = replace(
    DIGITS, name="tiny", n_train=120, n_validation=60, population_size=8,
    n_generations=3, epochs_per_generation=2, noise_rate=0.2,
)  # fmt: skip
N_EPBT_EPOCHS = (8 + 2 * 4) * 2


def run(
    folder: Path,
    arm: str,
    config: Config = TINY,
    data: Path = Path(),
    progress: Callable[[float], None] = lambda _: None,
) -> Record:
    job = Job(config, arm, ARMS[arm], seed=1)
    run_job(job, folder / "results", folder / "work", data, "cpu", progress)
    assert not (folder / "work" / config.name / job.name).exists()
    return read_records(results_file(folder / "results", config.name))[arm, job.seed]


# Of arms that differ in numbers only, one is run.
# What replays another arm's result has tests of its own.
ALIKE = {**EMA, **SLOW, **GENTLER, **SWEEPS_CLEAN, **SWEEPS_NOISY, **REPLAYED}
DISTINCT = [n for n in ARMS if n not in ALIKE or n == "cross-entropy-ema"]


@pytest.mark.parametrize("name", DISTINCT)
def test_every_arm_leaves_its_accuracies_its_effort_and_its_ancestry(
    tmp_path: Path, name: str
) -> None:
    arm = ARMS[name]
    epochs: list[float] = []
    record = run(tmp_path, name, progress=epochs.append)
    assert record["settings"]["arm"]["name"] == name
    curve = record["curve"]
    step = 2 if isinstance(arm, EPBTArm | PBTArm) else 1
    assert [epoch for epoch, _, _ in curve] == list(range(step, 7, step))
    assert all(0 <= test <= 1 for _, _, test in curve)
    assert all(
        (validation is None) == (name == "cross-entropy-all-data") for _, validation, _ in curve
    )
    assert sum(epochs) == record["epochs_trained"]
    assert record["seconds"]["train"] > 0
    if isinstance(arm, SingleNetwork):
        assert record["epochs_trained"] == 6
        return
    if isinstance(arm, SearchArm | PBTArm) and name != "pbt-theta-40":  # at least EPBT's
        assert N_EPBT_EPOCHS <= record["epochs_trained"] < N_EPBT_EPOCHS + 6
    last = record["ancestry"][-1]
    if isinstance(arm, EPBTArm | PBTArm):
        assert record["ancestry"][0]["epochs"] == 2
        assert 0 < last["epochs"] <= 6
        explores_theta = "theta" in arm.tunes
        assert ("theta_0" in last["params"]) == explores_theta
        assert ("learning_rate" in last["params"]) == ("sgd" in arm.tunes)
        explores = {"theta", "sce", "gce", "elr"} & set(arm.tunes)
        assert explores or record["losses_explored"] == 1


def test_an_elite_population_never_gets_worse_on_what_it_chooses_by(tmp_path: Path) -> None:
    validations = [validation for _, validation, _ in run(tmp_path, "epbt")["curve"]]
    assert validations == sorted(validations)


def test_all_epbt_individuals_of_the_demos_setting_can_learn(tmp_path: Path) -> None:
    ancestry = run(tmp_path, "epbt")["ancestry"]
    assert all(is_trainable(ancestor["params"], 10) for ancestor in ancestry)


def test_sound_founders_are_cross_entropy_like_and_the_first_one_exactly() -> None:
    found = founders(EPBTArm("", sound_founders=0.5), 8, seed=0)
    assert len(found) == 4
    assert tuple(found[0].values()) == pytest.approx(cross_entropy_like(10))
    assert len({tuple(params.values()) for params in found}) == 4
    assert founders(EPBTArm(""), 8, seed=0) == []


@pytest.mark.parametrize("elites", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("config", [CONFIGS["digits-clean"], CONFIGS["cifar10-resnet32"]])
def test_every_share_of_elites_has_nearly_the_same_budget(config: Config, elites: float) -> None:
    sampler = make_sampler(EPBTArm("", elites=elites), config, seed=0)
    n_epochs = sampler.n_trials(config.n_generations) * config.epochs_per_generation
    assert n_epochs == pytest.approx(config.n_epochs_of_epbt, rel=0.04)
    if elites == 0.5:
        assert sampler.population_size == config.population_size


def test_pbts_founders_start_around_zero_in_the_papers_baseline_only() -> None:
    near = founders(PBTArm("", start=1.0), 8, seed=0)
    assert len(near) == 8
    assert all(abs(number) <= 1 for params in near for number in params.values())
    assert founders(PBTArm(""), 8, seed=0) == []


class CutOffError(BaseException):
    """Stands for a kill: nothing catches it."""


def cut_off(*_: object) -> float:
    raise CutOffError


@pytest.mark.parametrize(
    "name",
    [
        "cross-entropy", "cross-entropy-ema", "epbt", "recommended-noisy", "safe-selection",
        "pbt-theta", "epbt-theta-and-sgd", "tpe",
    ],
)  # fmt: skip
def test_a_run_that_is_cut_off_again_and_again_ends_like_one_that_is_not(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", name)
    measure, calls = training.accuracies, 0

    def measure_or_die(network: torch.nn.Module, part: Part) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:  # trained already, not yet evaluated, let alone saved
            raise CutOffError
        return measure(network, part)

    monkeypatch.setattr(training, "accuracies", measure_or_die)
    n_cuts = 0
    while True:
        try:
            cut = run(tmp_path / "cut", name)
            break
        except CutOffError:
            n_cuts += 1
    assert n_cuts >= 1
    for record in (whole, cut):
        del record["seconds"]
    assert cut == whole


def test_a_run_cut_off_between_generation_and_record_measures_the_fittest_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", "epbt")
    with monkeypatch.context() as patch:
        patch.setattr(Workbench, "test_accuracy", cut_off)
        with pytest.raises(CutOffError):
            run(tmp_path / "cut", "epbt")
    assert run(tmp_path / "cut", "epbt")["curve"] == whole["curve"]


def test_going_on_with_a_changed_config_is_refused_and_says_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Workbench, "test_accuracy", cut_off)
        with pytest.raises(CutOffError):
            run(tmp_path, "cross-entropy")
    with pytest.raises(ExperimentError, match=r"`batch_size` was 128 and is 32"):
        run(tmp_path, "cross-entropy", replace(TINY, batch_size=32))


def test_the_same_seed_gives_the_same_result(tmp_path: Path) -> None:
    once, again = (run(tmp_path / place, "epbt") for place in ("a", "b"))
    assert once["curve"] == again["curve"]
    assert once["ancestry"] == again["ancestry"]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_runs_from_files_to_result(data_root: Path, tmp_path: Path, name: str) -> None:
    config = replace(
        CONFIGS[name], n_train=8, n_validation=8, population_size=2,
        n_generations=2, epochs_per_generation=1,
    )  # fmt: skip
    record = run(tmp_path, "epbt-paper", config, data_root)
    assert record["epochs_trained"] == 3
    assert json.loads(json.dumps(record)) == record
