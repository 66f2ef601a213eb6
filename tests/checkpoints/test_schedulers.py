"""A restored scheduler, against a run with the same values from the first step on."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import optim
from torch.nn import Parameter
from torch.optim import lr_scheduler as schedulers
from torch.optim.swa_utils import SWALR

from epbt_optuna import restore_optimizer, restore_scheduler

Values = dict[str, Any]
Make = Callable[[optim.Optimizer, Values], schedulers.LRScheduler]

# Two settings of each: the parent's, and those of the child, which differ in all.
PARENTS: Values = {"lr": 0.1, "gamma": 0.9, "eta_min": 0.001, "period": 4, "momentum": 0.8}
CHILDS: Values = {"lr": 0.4, "gamma": 0.7, "eta_min": 0.02, "period": 3, "momentum": 0.7}

MAKE: dict[str, Make] = {
    "LambdaLR": lambda o, v: schedulers.LambdaLR(o, lambda epoch: v["gamma"] ** epoch),
    "LambdaLR, one for each group": lambda o, v: schedulers.LambdaLR(
        o, [lambda epoch: v["gamma"] ** epoch, lambda epoch: 1 / (1 + epoch)]
    ),
    "MultiplicativeLR": lambda o, v: schedulers.MultiplicativeLR(o, lambda _: v["gamma"]),
    "StepLR": lambda o, v: schedulers.StepLR(o, v["period"], v["gamma"]),
    "MultiStepLR": lambda o, v: schedulers.MultiStepLR(o, [v["period"], 7], v["gamma"]),
    "ConstantLR": lambda o, v: schedulers.ConstantLR(o, v["gamma"], v["period"]),
    "LinearLR": lambda o, v: schedulers.LinearLR(o, v["gamma"], 1.0, v["period"]),
    "ExponentialLR": lambda o, v: schedulers.ExponentialLR(o, v["gamma"]),
    "PolynomialLR": lambda o, v: schedulers.PolynomialLR(o, 5 * v["period"], 2.0),
    "CosineAnnealingLR": lambda o, v: schedulers.CosineAnnealingLR(
        o, 3 * v["period"], v["eta_min"]
    ),
    "CosineAnnealingWarmRestarts": lambda o, v: schedulers.CosineAnnealingWarmRestarts(
        o, v["period"], 2, v["eta_min"]
    ),
    "CyclicLR": lambda o, v: schedulers.CyclicLR(
        o, v["eta_min"], v["lr"], v["period"], mode="triangular2", base_momentum=v["momentum"]
    ),
    "OneCycleLR": lambda o, v: schedulers.OneCycleLR(
        o, v["lr"], 10 * v["period"], base_momentum=v["momentum"]
    ),
    "OneCycleLR, three phases": lambda o, v: schedulers.OneCycleLR(
        o, [v["lr"], v["lr"] / 2], 10 * v["period"], three_phase=True
    ),
    "SWALR": lambda o, v: SWALR(o, v["eta_min"], 2 * v["period"]),
    "SequentialLR": lambda o, v: schedulers.SequentialLR(
        o,
        [
            schedulers.LinearLR(o, v["gamma"], 1.0, v["period"]),
            schedulers.CosineAnnealingLR(o, 10, v["eta_min"]),
            schedulers.ExponentialLR(o, v["gamma"]),
        ],
        [v["period"], 10],
    ),
    "ChainedScheduler": lambda o, v: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, v["gamma"], v["period"]), schedulers.ExponentialLR(o, v["gamma"])]
    ),
    "a chain in a sequence in a chain": lambda o, v: schedulers.ChainedScheduler(
        [
            schedulers.SequentialLR(
                o,
                [schedulers.LinearLR(o, 0.5, 1.0, v["period"]), schedulers.StepLR(o, v["period"])],
                [v["period"]],
            ),
            schedulers.MultiStepLR(o, [2, 9], v["gamma"]),
        ]
    ),
}

# What there is to restore, but for the bases and what `ReduceLROnPlateau`'s own tests are for.
CLASSES = {
    name
    for module in (schedulers, optim.swa_utils)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and issubclass(cls, schedulers.LRScheduler)
} - {"LRScheduler", "_LRScheduler", "ReduceLROnPlateau"}


def build(values: Values, *, adam: bool = False, tensor: bool = False) -> optim.Optimizer:
    rates = [values["lr"], values["lr"] / 10]
    groups = [
        {"params": [Parameter(torch.ones(2))], "lr": torch.tensor(lr) if tensor else lr}
        for lr in rates
    ]
    return optim.AdamW(groups) if adam else optim.SGD(groups, momentum=0.9)


def train(optimizer: optim.Optimizer, scheduler: Any, n_steps: int) -> list[Any]:
    """Return the settings of all groups after each step."""
    settings = []
    for _ in range(n_steps):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        scheduler.step()
        settings.append(settings_of(optimizer))
    return settings


def settings_of(optimizer: optim.Optimizer) -> list[Values]:
    return [
        {key: copy.copy(value) for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def test_every_scheduler_of_torchs_is_in_the_table() -> None:
    assert {name.split(",")[0] for name in MAKE} >= CLASSES


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_steps", [0, 1, 3, 8, 12])
@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("adam", [False, True], ids=["SGD", "AdamW"])
@pytest.mark.parametrize("tensor", [False, True], ids=["numbers", "tensors"])
def test_rate_and_momentum_are_those_of_a_run_with_these_values_from_the_start_and_stay_so(
    name: str, n_steps: int, adam: bool, tensor: bool
) -> None:
    parent = build(PARENTS, adam=adam, tensor=tensor)
    parents = MAKE[name](parent, PARENTS)
    train(parent, parents, n_steps)

    whole = build(CHILDS, adam=adam, tensor=tensor)
    wholes = MAKE[name](whole, CHILDS)
    train(whole, wholes, n_steps)

    child = build(CHILDS, adam=adam, tensor=tensor)
    restore_optimizer(child, parent.state_dict())
    scheduler = MAKE[name](child, CHILDS)
    restore_scheduler(scheduler, n_steps, parents.state_dict())

    assert settings_of(child) == settings_of(whole)
    assert scheduler.get_last_lr() == wholes.get_last_lr()
    assert train(child, scheduler, 8) == train(whole, wholes, 8)


@pytest.mark.parametrize("order", ["scheduler built first", "both restored in reverse"])
@pytest.mark.parametrize("name", MAKE)
def test_the_optimizer_may_be_restored_after_the_scheduler_was_built(name: str, order: str) -> None:
    parent = build(PARENTS)
    train(parent, MAKE[name](parent, PARENTS), 5)
    whole = build(CHILDS)
    train(whole, MAKE[name](whole, CHILDS), 5)

    child = build(CHILDS)
    scheduler = MAKE[name](child, CHILDS)
    if order == "scheduler built first":
        restore_optimizer(child, parent.state_dict())
        restore_scheduler(scheduler, 5)
    else:
        restore_scheduler(scheduler, 5)
        restore_optimizer(child, parent.state_dict())
    assert settings_of(child) == settings_of(whole)


def test_two_schedulers_that_take_turns_are_restored_one_after_the_other() -> None:
    def make(values: Values) -> tuple[optim.Optimizer, Any, SWALR]:
        optimizer = build(values)
        return optimizer, MAKE["ExponentialLR"](optimizer, values), SWALR(optimizer, 0.05, 4)

    whole, annealing, averaging = make(CHILDS)
    train(whole, annealing, 6)
    train(whole, averaging, 2)
    child, annealing, averaging = make(CHILDS)
    restore_scheduler(annealing, 6)
    restore_scheduler(averaging, 2)
    assert settings_of(child) == settings_of(whole)


def test_the_restored_state_can_be_saved_and_read_without_pickling() -> None:
    optimizer = build(CHILDS)
    plateau = schedulers.ReduceLROnPlateau(optimizer)
    restore_scheduler(plateau, 0)
    file = io.BytesIO()
    torch.save(plateau.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["epbt_initial_lrs"] == [0.4, 0.04]


# Mistakes


def one_cycle(n_steps: int = 10) -> schedulers.OneCycleLR:
    return schedulers.OneCycleLR(build(CHILDS), 0.4, n_steps)


def test_more_steps_than_a_scheduler_has_are_refused() -> None:
    restore_scheduler(one_cycle(10), 10)
    with pytest.raises(
        ValueError, match=r"`n_steps` must be at most what the OneCycleLR has .* 11"
    ):
        restore_scheduler(one_cycle(10), 11)


@pytest.mark.parametrize("name", MAKE)
def test_a_scheduler_that_was_restored_or_stepped_before_is_refused(name: str) -> None:
    optimizer = build(CHILDS)
    scheduler = MAKE[name](optimizer, CHILDS)
    restore_scheduler(scheduler, 0)
    restore_scheduler(scheduler, 3)
    before = settings_of(optimizer)
    with pytest.raises(ValueError, match="`scheduler` must be just built but has taken 3 steps"):
        restore_scheduler(scheduler, 3)
    assert settings_of(optimizer) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((one_cycle(), -1), ValueError, "`n_steps` must be at least 0 but got -1"),
        ((one_cycle(), 1.5), TypeError, "`n_steps` must be an integer but got 1.5"),
        ((one_cycle(), None), TypeError, "`n_steps` must be an integer but got None"),
        ((build(CHILDS), 1), TypeError, "`torch.optim.lr_scheduler` but got SGD"),
        (
            (one_cycle(), 1, []),
            TypeError,
            r"`state` must be a scheduler's `state_dict\(\)` but got",
        ),
        ((one_cycle(), 1, {"scheduler": {}}), TypeError, "it has .'scheduler'."),
        (
            (one_cycle(), 2, one_cycle().state_dict()),
            ValueError,
            "`n_steps` must be the steps that the parent's scheduler has taken, 0, but got 2",
        ),
    ],
)
def test_what_cannot_be_restored_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        restore_scheduler(*arguments)


# ReduceLROnPlateau


def plateau(optimizer: optim.Optimizer, **settings: Any) -> schedulers.ReduceLROnPlateau:
    defaults = {"factor": 0.5, "patience": 1, "cooldown": 2}
    return schedulers.ReduceLROnPlateau(optimizer, **{**defaults, **settings})


def worsen(scheduler: schedulers.ReduceLROnPlateau, n_steps: int) -> list[list[Any]]:
    """Report losses that never improve; return the rates after each."""
    rates = []
    for step in range(n_steps):
        scheduler.step(1.0 + step)
        rates.append(scheduler.get_last_lr())
    return rates


@pytest.mark.parametrize("tensor", [False, True], ids=["numbers", "tensors"])
@pytest.mark.parametrize("n_steps", range(10))
def test_on_a_plateau_a_child_goes_on_from_its_parents_reductions_over_generations(
    n_steps: int, tensor: bool
) -> None:
    """Losses do not depend on the rate here, so a run from the start says what is right."""
    whole = plateau(build(CHILDS, tensor=tensor))
    worsen(whole, 2 * n_steps)
    state = None
    for generation, values in enumerate((PARENTS, {"lr": 7.0}, CHILDS)):
        optimizer = build(values, tensor=tensor)
        scheduler = plateau(optimizer)
        restore_scheduler(scheduler, generation * n_steps, state)
        if generation == 2:
            break
        for step in range(generation * n_steps, (generation + 1) * n_steps):
            scheduler.step(1.0 + step)
        state = copy.deepcopy(scheduler.state_dict())
    assert [group["lr"] for group in optimizer.param_groups] == scheduler.get_last_lr()
    assert all(isinstance(group["lr"], torch.Tensor) is tensor for group in optimizer.param_groups)
    assert scheduler.get_last_lr() == pytest.approx(whole.get_last_lr())
    for mine, theirs in zip(worsen(scheduler, 9), worsen(whole, 9), strict=True):
        assert mine == pytest.approx(theirs)
    assert scheduler.best == whole.best


def parents_state(**settings: Any) -> Values:
    scheduler = plateau(build(PARENTS), **settings)
    restore_scheduler(scheduler, 0)
    worsen(scheduler, 3)
    return scheduler.state_dict()


def test_a_childs_own_settings_of_a_plateau_stay_and_its_floor_holds() -> None:
    child = plateau(build(CHILDS), factor=0.1, patience=7, min_lr=[0.3, 0.001])
    restore_scheduler(child, 3, parents_state())
    assert (child.factor, child.patience) == (0.1, 7)
    assert child.get_last_lr() == [0.3, 0.02]
    frozen = plateau(build({"lr": 0.2}), min_lr=1.0)
    restore_scheduler(frozen, 3, parents_state())
    assert frozen.get_last_lr() == [0.2, 0.02]


def test_beside_a_warm_up_a_plateau_reduces_the_rate_that_the_warm_up_ends_at() -> None:
    def make(values: Values) -> tuple[Any, Any]:
        optimizer = build(values)
        return schedulers.LinearLR(optimizer, 0.5, 1.0, 2), plateau(optimizer)

    warm_up, parents = make(PARENTS)
    restore_scheduler(parents, 0)
    for step in range(5):
        warm_up.optimizer.step()
        warm_up.step()
        parents.step(1.0 + step)
    warm_up, scheduler = make(CHILDS)
    restore_scheduler(warm_up, 5)
    restore_scheduler(scheduler, 5, parents.state_dict())
    assert parents.get_last_lr() == pytest.approx([0.05, 0.005])
    assert scheduler.get_last_lr() == pytest.approx([0.2, 0.02])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "`state` must be the parent's .* for a ReduceLROnPlateau, .* but got None"),
        (
            {"last_epoch": 3, "_last_lr": [0.1, 0.1], "gamma": 0.5},
            r"lacks \['best', .* had another scheduler, `restore_scheduler\(scheduler, 0\)` begins",
        ),
        (parents_state(mode="max", patience=9), "the scheduler's mode, 'min', but got 'max'"),
        (
            {**parents_state(), "epbt_initial_lrs": [0.1], "_last_lr": [0.1]},
            "for the optimizer's 2 parameter groups but is for 1",
        ),
        (
            {k: v for k, v in parents_state().items() if k != "epbt_initial_lrs"},
            r"`state` must hold `epbt_initial_lrs`, .* call `restore_scheduler\(scheduler, 0\)`",
        ),
    ],
)
def test_a_plateau_without_the_state_that_it_needs_is_refused(state: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restore_scheduler(plateau(build(CHILDS)), 3, state)


def test_threads_keep_their_filters_of_warnings_while_a_scheduler_is_restored() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        filters = list(warnings.filters)

        def spy(epoch: int) -> float:
            assert list(warnings.filters) == filters
            return 0.9**epoch

        restore_scheduler(schedulers.LambdaLR(build(CHILDS), spy), 3)
    assert seen == []
