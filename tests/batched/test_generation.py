"""Generation: suggestions, reports and attributes of many trials at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, ask_generation
from epbt_optuna.batched import Generation, each
from tests.batched.separate import make_study


def generation_of(study: optuna.Study) -> Generation:
    return Generation(ask_generation(study))


def test_numbers_are_tensors_in_the_order_of_the_trials() -> None:
    study = make_study()
    generation = generation_of(study)
    lr = generation.suggest_float("lr", 1e-3, 1.0, log=True)
    width = generation.suggest_int("width", 2, 8, step=2)
    kind = generation.suggest_categorical("kind", ["a", "b"])
    assert lr.dtype == torch.get_default_dtype()
    assert width.dtype == torch.int64
    for i, trial in enumerate(generation.trials):
        assert trial.params == {
            "lr": pytest.approx(lr[i].item(), rel=1e-6), "width": width[i], "kind": kind[i],
        }  # fmt: skip
    assert len({*lr.tolist()}) == len(generation) == 6
    assert generation.number == 0


def test_numbers_are_made_on_the_device() -> None:
    generation = Generation(ask_generation(make_study()), device="meta")
    assert generation.suggest_float("x", 0, 1).device == generation.device == torch.device("meta")


def test_only_the_trials_of_a_mask_are_asked() -> None:
    study = make_study()
    generation = generation_of(study)
    kind = generation.suggest_categorical("kind", ["sgd", "adam"])
    is_sgd = [name == "sgd" for name in kind]
    assert {*kind} == {"sgd", "adam"}
    momentum = generation.suggest_float("momentum", 0.5, 0.9, where=is_sgd, otherwise=0.0)
    n_steps = generation.suggest_int("n", 1, 9, where=~torch.tensor(is_sgd), otherwise=-1)
    other = generation.suggest_categorical("other", [1, 2], where=np.array(is_sgd))
    for i, trial in enumerate(generation.trials):
        assert trial.params.keys() == {"kind", *(("momentum", "other") if is_sgd[i] else ("n",))}
        assert (momentum[i] >= 0.5) == is_sgd[i]
        assert (n_steps[i] == -1) == is_sgd[i]
        assert (other[i] is not None) == is_sgd[i]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"where": [True] * 6}, ValueError, "`where` and `otherwise` must be given together"),
        ({"otherwise": 0.0}, ValueError, "`where` and `otherwise` must be given together"),
        ({"where": [True] * 5, "otherwise": 0.0}, ValueError, "`where`.*each of the 6 trials"),
        ({"where": [1] * 6, "otherwise": 0.0}, TypeError, "`where` must be a mask of booleans"),
        ({"where": True, "otherwise": 0.0}, TypeError, "`where` must be a mask with an entry"),
    ],
)
def test_a_bad_mask_is_refused_before_a_trial_is_asked(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    generation = generation_of(make_study())
    with pytest.raises(error, match=message):
        generation.suggest_float("x", 0, 1, **options)
    assert all(trial.params == {} for trial in generation.trials)


def test_an_error_of_a_suggestion_names_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> float:
        raise ValueError("The operator is broken.")

    generation = generation_of(make_study())
    monkeypatch.setattr(generation.trials[2], "suggest_float", refuse)
    with pytest.raises(ValueError, match=r"^Trial 2: The operator is broken\.$"):
        generation.suggest_float("x", 0, 1)


def test_no_generation_is_without_trials() -> None:
    with pytest.raises(ValueError, match="`trials` must hold a trial"):
        Generation([])


@pytest.mark.parametrize("kind", [torch.tensor, np.array, list, lambda v: each(torch.tensor(v))])
def test_each_trial_reports_its_own_value(kind: Any) -> None:
    study = make_study()
    generation = generation_of(study)
    generation.report(kind([0.5, 1.0, 1.5, 2.0, math.nan, 3.0]), 7)
    reported = [trial.intermediate_values for trial in study.trials]
    assert [steps[7] for steps in reported[:4]] == [0.5, 1.0, 1.5, 2.0]
    assert math.isnan(reported[4][7])


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([1.0] * 5, ValueError),
        (torch.zeros(7), ValueError),
        (torch.zeros(()), ValueError),
        (1.0, ValueError),
        (None, ValueError),
        (torch.zeros(6, 2), TypeError),
        (["1"] * 6, TypeError),
    ],
)
def test_what_is_not_a_number_for_each_trial_is_refused(
    values: object, error: type[Exception]
) -> None:
    study = make_study()
    with pytest.raises(error, match="`values` must be"):
        generation_of(study).report(values, 0)
    assert not any(trial.intermediate_values for trial in study.trials)


def test_a_pruned_member_ends_at_once_and_its_later_values_are_ignored() -> None:
    study = make_study(pruner=EPBTPruner())
    generation = generation_of(study)
    assert not generation.should_prune().any()
    generation.report([0.0, math.nan, 0.0, 0.0, 0.0, 0.0], 0)
    assert generation.should_prune().tolist() == [i == 1 for i in range(6)]
    assert generation.alive.tolist() == [i != 1 for i in range(6)]
    assert study.trials[1].state == TrialState.PRUNED
    generation.report([1.0, math.nan, 1.0, 1.0, 1.0, 1.0], 1)
    assert generation.should_prune().tolist() == [i == 1 for i in range(6)]
    generation.set_user_attr("epoch", torch.arange(6))
    assert [len(trial.intermediate_values) for trial in study.trials] == [2, 1, 2, 2, 2, 2]
    assert [trial.user_attrs.get("epoch") for trial in study.trials] == [0, None, 2, 3, 4, 5]


class PruneAllButTheFirst(optuna.pruners.BasePruner):
    """Prunes as long as more than the first sibling runs."""

    def prune(self, study: optuna.Study, _: optuna.trial.FrozenTrial) -> bool:
        n_running = sum(t.state == TrialState.RUNNING for t in study.get_trials(deepcopy=False))
        return n_running > 2


def test_the_pruner_sees_whom_it_has_pruned_in_the_same_step() -> None:
    generation = generation_of(make_study(pruner=PruneAllButTheFirst()))
    assert generation.should_prune().tolist() == [True] * 4 + [False] * 2


def test_a_trial_that_is_ended_from_outside_does_not_end_the_others() -> None:
    study = make_study()
    generation = generation_of(study)
    study.tell(3, state=TrialState.FAIL)
    generation.report([0.0] * 6, 0)
    assert generation.alive.tolist() == [i != 3 for i in range(6)]
    assert [len(trial.intermediate_values) for trial in study.trials] == [1, 1, 1, 0, 1, 1]


def test_what_a_storage_raises_for_a_running_trial_is_raised() -> None:
    generation = generation_of(make_study())
    with pytest.raises(ValueError, match="step"):
        generation.report([0.0] * 6, -1)


def test_enqueued_trials_come_first_and_infeasible_ones_are_bred_again() -> None:
    sampler = EPBTSampler(
        6,
        n_elites=3,
        seed=0,
        feasible=lambda params: params["x"] < 0.5,
        search_space={"x": optuna.distributions.FloatDistribution(0, 1)},
    )
    study = make_study(sampler=sampler)
    study.enqueue_trial({"x": 0.25})
    x = generation_of(study).suggest_float("x", 0, 1)
    assert x[0] == 0.25
    assert (x < 0.5).all()
