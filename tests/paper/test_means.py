"""The three means as arms, and generations that are trained as one batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from epbt_optuna import CheckpointStore
from epbt_optuna.lineage import ancestry
from examples.paper import ExperimentError, training
from examples.paper.arms import ARMS, CLEAN, MEANS, NOISY, RECOMMENDED
from examples.paper.configs import CONFIGS, Config
from examples.paper.data import make_split
from examples.paper.evolution import make_sampler, open_study, run_evolution
from examples.paper.genomes import loss_of, losses_of
from examples.paper.kinds import EPBTArm, PBTArm
from examples.paper.losses import loss_on
from examples.paper.outcome import Outcome
from examples.paper.results import Job
from examples.paper.stopwatch import Stopwatch
from examples.paper.training import Workbench
from tests.paper.test_runs import TINY

STEPS = replace(TINY, batch_size=32)  # several in an epoch, so that the order of images counts


def evolve(folder: Path, arm: EPBTArm | PBTArm, *, in_batches: bool) -> Outcome:
    folder.mkdir(exist_ok=True)
    bench = Workbench(STEPS, 1, make_split(STEPS, 1, Path()), Stopwatch())
    return run_evolution(bench, arm, folder, lambda _: None, in_batches=in_batches)[0]


@pytest.mark.parametrize(
    "arm",
    [
        NOISY,
        EPBTArm("", normalize=True),
        EPBTArm("", tunes=("theta", "sgd")),
        EPBTArm("", tunes=()),
        replace(NOISY, n_generations=4),  # of an epoch and a half
        PBTArm("", tunes=("sce", "rate")),
        PBTArm("", tunes=("gce", "rate")),
        replace(NOISY, tunes=("elr", "rate")),
    ],
)
def test_a_batch_and_a_loop_give_the_same_result_up_to_rounding(
    tmp_path: Path, arm: EPBTArm | PBTArm
) -> None:
    loop, batch = (evolve(tmp_path / str(b), arm, in_batches=b) for b in (False, True))
    assert batch.epochs_trained == loop.epochs_trained
    assert batch.losses_explored == loop.losses_explored
    assert [ancestor["trial"] for ancestor in batch.ancestry] == [
        ancestor["trial"] for ancestor in loop.ancestry
    ]
    for mine, other in zip(batch.ancestry, loop.ancestry, strict=True):
        assert mine["params"] == pytest.approx(other["params"])
        assert mine["epochs"] == other["epochs"]
    one_image = 1 / STEPS.n_validation
    for point, other_point in zip(batch.curve, loop.curve, strict=True):
        assert point.validation == pytest.approx(other_point.validation, abs=1.01 * one_image)


@pytest.mark.parametrize("arm", [CLEAN, NOISY, EPBTArm("", fitness_smoothing=0.5)])
def test_the_network_that_is_chosen_is_the_samplers_fittest(tmp_path: Path, arm: EPBTArm) -> None:
    outcome = evolve(tmp_path, arm, in_batches=True)
    sampler, study = make_sampler(arm, STEPS, 1), open_study(tmp_path)
    assert outcome.ancestry[-1]["trial"] == sampler.fittest(study).number
    fittest = [sampler.get_individuals(study, g)[0] for g in range(STEPS.n_generations)]
    assert [point.validation for point in outcome.curve] == [i.fitness for i in fittest]


@pytest.mark.parametrize("in_batches", [False, True])
@pytest.mark.parametrize("mean", ["train_elites", "fitness_smoothing", "mate_weight"])
def test_each_mean_changes_what_is_learnt(tmp_path: Path, mean: str, in_batches: bool) -> None:
    without = replace(NOISY, **{mean: getattr(EPBTArm(""), mean)})
    one, other = (
        evolve(tmp_path / str(i), arm, in_batches=in_batches)
        for i, arm in enumerate((NOISY, without))
    )
    assert one.curve[0].test == other.curve[0].test or mean == "train_elites"
    assert one.curve != other.curve


SIX = [
    CONFIGS[name]
    for name in (
        "digits-clean", "digits-noisy", "fashion-clean",
        "fashion-noisy", "fashion-5000", "fashion-5000-noisy",
    )
]  # fmt: skip


@pytest.mark.parametrize("config", SIX)
@pytest.mark.parametrize("name", [*RECOMMENDED, *MEANS])
def test_the_means_have_exactly_the_epochs_of_the_papers_letter(config: Config, name: str) -> None:
    arm = ARMS[name]
    assert isinstance(arm, EPBTArm)
    sampler = make_sampler(arm, config, seed=0)
    n_epochs = sampler.n_trials(config.n_generations) * config.epochs_per_generation
    assert n_epochs == config.n_epochs_of_epbt
    expected = (21, 10) if arm.train_elites else (40, 20)
    assert (sampler.population_size, sampler.n_elites) == expected


def test_a_field_that_came_later_is_no_part_of_older_settings() -> None:
    settings = Job(CONFIGS["digits-clean"], "epbt", ARMS["epbt"], 0).settings
    assert not {"train_elites", "mate_weight"} & settings["arm"].keys()
    assert "batched" not in settings
    recommended = Job(CONFIGS["digits-clean"], "recommended-noisy", NOISY, 0).settings
    assert recommended["arm"]["train_elites"] is True
    assert recommended["arm"]["mate_weight"] == 0.5


def test_settings_say_whether_generations_were_batches() -> None:
    assert Job(CONFIGS["digits-clean"], "a", NOISY, 0).settings["batched"] is True
    assert "batched" not in Job(CONFIGS["fashion-cnn"], "a", NOISY, 0).settings
    assert (
        "batched" not in Job(replace(CONFIGS["digits-clean"], augment=True), "a", NOISY, 0).settings
    )


def test_a_study_that_lost_trials_to_an_error_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(training, "accuracies", fail)
        with pytest.raises(MemoryError):
            evolve(tmp_path, NOISY, in_batches=True)
    with pytest.raises(ExperimentError, match=r"Trial 0 in .* was ended by an error"):
        evolve(tmp_path, NOISY, in_batches=True)


@pytest.mark.parametrize(
    "genomes",
    [
        [{"q": 0.7}, {"q": 0.2}],
        [{"ce_weight": 0.1, "rce_weight": 1.0}, {"ce_weight": 0.5, "rce_weight": 3.0}],
        [{"elr_weight": 3.0, "elr_momentum": 0.7}, {"elr_weight": 0.5, "elr_momentum": 0.9}],
        [{"rate": 0.5}, {"rate": 1.0}],
    ],
)
def test_losses_of_a_generation_are_those_of_each(genomes: list[dict[str, float]]) -> None:
    logits, labels = torch.randn(2, 5, 10), torch.randint(10, (2, 5))
    stacked = {name: torch.tensor([g[name] for g in genomes]) for name in genomes[0]}
    each = [loss_of(g, 9, "cpu") for g in genomes]
    together = losses_of(stacked, 9, "cpu")
    for samples in (torch.randperm(9).expand(2, 9)[:, :5], torch.stack([torch.arange(5)] * 2)):
        of_each = [loss_on(*batch) for batch in zip(each, logits, labels, samples, strict=True)]
        torch.testing.assert_close(loss_on(together, logits, labels, samples), torch.stack(of_each))


@pytest.mark.parametrize("in_batches", [False, True])
def test_an_offspring_inherits_what_its_parents_loss_remembers(
    tmp_path: Path, *, in_batches: bool
) -> None:
    arm = PBTArm("", tunes=("elr", "rate"))
    evolve(tmp_path, arm, in_batches=in_batches)
    study, store = open_study(tmp_path), CheckpointStore(tmp_path / "checkpoints")
    n_ancestors = []
    last = STEPS.n_generations - 1
    for individual in make_sampler(arm, STEPS, 1).get_individuals(study, last):
        trial = study.trials[individual.number]
        lineage = ancestry(study, trial)
        # Whatever a network says of an image sums to 1, so what is remembered of it does not
        # depend on that: every epoch moves the sum towards 1 by the momentum of its generation.
        remembered = 0.0
        for ancestor in lineage:
            for _ in range(int(STEPS.epochs_per_generation)):
                remembered += (1 - ancestor.params["elr_momentum"]) * (1 - remembered)
        assert store.load(trial)["targets"].sum(1) == pytest.approx(remembered, rel=1e-4)
        n_ancestors.append(len(lineage))
    assert max(n_ancestors) == STEPS.n_generations
