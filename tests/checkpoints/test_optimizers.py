"""Whose state a `state_dict()` is: other classes, other groups, other shapes, other people's."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import optim
from torch.nn import Parameter

from epbt_optuna import restore_optimizer

CLASSES = [
    cls
    for cls in vars(optim).values()
    if isinstance(cls, type) and issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer
]
PAIRS = [(a, b) for a, b in itertools.product(CLASSES, CLASSES) if a is not b]


def stepped(optimizer: optim.Optimizer) -> Any:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = torch.ones_like(parameter)
            is_sparse = isinstance(optimizer, optim.SparseAdam)
            parameter.grad = gradient.to_sparse() if is_sparse else gradient
    optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type,return-value]
    return optimizer


def parameters(*shapes: tuple[int, ...]) -> list[Parameter]:
    return [Parameter(torch.ones(shape)) for shape in shapes]


@pytest.mark.parametrize(("child", "parent"), PAIRS, ids=lambda cls: cls.__name__)
def test_the_state_of_another_class_is_refused_and_both_are_named(
    child: type[Any], parent: type[Any]
) -> None:
    state = stepped(parent(parameters((2, 3)), lr=0.1)).state_dict()
    optimizer = child(parameters((2, 3)), lr=0.1)
    before = copy.deepcopy(optimizer.state_dict())
    message = f"must be of {child.__name__}, as the optimizer is, but is of {parent.__name__}"
    with pytest.raises(ValueError, match=message):
        restore_optimizer(optimizer, state)
    torch.testing.assert_close(optimizer.state_dict(), before)


def test_where_asked_another_classs_state_is_left_out_with_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = stepped(optim.AdamW(parameters((2,)), lr=0.1)).state_dict()
    child = optim.Adam(parameters((2,)), lr=0.3, weight_decay=0.2)
    with caplog.at_level(logging.WARNING, "optuna.epbt_optuna.checkpoints"):
        restore_optimizer(child, state, on_mismatch="fresh", lr=0.4)
    (record,) = caplog.records
    assert "must be of Adam, as the optimizer is, but is of AdamW." in record.getMessage()
    (group,) = child.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.4, 0.2)
    assert not group["decoupled_weight_decay"]
    assert not child.state


def test_adam_with_decoupled_decay_is_adamw_under_either_name() -> None:
    decoupled = optim.Adam(parameters((2,)), decoupled_weight_decay=True)
    restore_optimizer(optim.AdamW(parameters((2,))), stepped(decoupled).state_dict())
    message = r"must be of Adam, .*, but is of AdamW\. Pass `on_mismatch='fresh'` to begin without"
    with pytest.raises(ValueError, match=message):
        restore_optimizer(optim.Adam(parameters((2,))), decoupled.state_dict())


@pytest.mark.parametrize("cls", [optim.Adam, optim.AdamW])
def test_a_state_from_before_torch_told_adam_from_adamw_is_taken_by_both(cls: type[Any]) -> None:
    state = stepped(cls(parameters((2,)))).state_dict()
    for group in state["param_groups"]:
        for flag in ("decoupled_weight_decay", "fused", "capturable", "differentiable"):
            del group[flag]
    child = cls(parameters((2,)))
    restore_optimizer(child, state)
    assert child.state
    assert child.param_groups[0]["decoupled_weight_decay"] is (cls is optim.AdamW)


# Other parameters


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[(2, 3)]], "`state` must have the optimizer's 1 parameter groups but has 2."),
        ([[(2, 3)], [(3,), (3,)]], "`state`'s parameter group 1 must have 2 parameters but has 1."),
        (
            [[(2, 3)], [(4,)]],
            r"`state`'s parameter group 1 must fit its parameter 0, of shape \(4,\), but "
            r"`exp_avg` has \(3,\).",
        ),
        ([[(3, 2)], [(3,)]], r"group 0 .* of shape \(3, 2\), but `exp_avg` has \(2, 3\)."),
        ([[(2, 3)], [(1,)]], r"group 1 .* of shape \(1,\), but `exp_avg` has \(3,\)."),
    ],
)
def test_the_state_of_other_parameters_is_refused_or_left_out(
    groups: list[list[tuple[int, ...]]], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = stepped(optim.Adam([{"params": parameters(s)} for s in ((2, 3), (3,))])).state_dict()
    child = optim.Adam([{"params": parameters(*shapes)} for shapes in groups])
    with pytest.raises(ValueError, match=message):
        restore_optimizer(child, state)
    restore_optimizer(child, state, on_mismatch="fresh")
    assert len(caplog.records) == 1
    stepped(child)


@pytest.mark.parametrize(
    "cls",
    [cls for cls in CLASSES if cls not in (optim.LBFGS, optim.Muon, optim.SGD)],
    ids=lambda cls: cls.__name__,
)
@pytest.mark.parametrize(("shape", "other"), [((2, 3), (3, 2)), ((2, 3), (6,)), ((6,), (2, 3))])
def test_every_optimizer_of_torchs_refuses_moments_of_another_shape(
    cls: Callable[..., optim.Optimizer], shape: tuple[int, ...], other: tuple[int, ...]
) -> None:
    state = stepped(cls(parameters(shape), lr=0.1)).state_dict()
    with pytest.raises(ValueError, match=r"must fit its parameter 0"):
        restore_optimizer(cls(parameters(other), lr=0.1), state)
    restore_optimizer(cls(parameters(shape), lr=0.1), state)


def test_groups_in_another_order_are_refused_by_their_names() -> None:
    def named(*names: str) -> optim.SGD:
        return optim.SGD([{"params": parameters((2,)), "name": name} for name in names], lr=0.1)

    with pytest.raises(ValueError, match="parameter group 0 must be 'head' but is 'backbone'"):
        restore_optimizer(named("head", "backbone"), named("backbone", "head").state_dict())


@pytest.mark.parametrize(
    ("own", "parents", "fits"),
    [
        (["a.weight", "b.weight"], ["a.weight", "b.weight"], True),
        (["b.weight", "a.weight"], ["a.weight", "b.weight"], False),
        (["a.weight", "c.weight"], ["a.weight", "b.weight"], False),
        (["a.weight", "b.weight"], ["_orig_mod.a.weight", "_orig_mod.b.weight"], True),
        (
            ["module._orig_mod.a.weight", "module._orig_mod.b.weight"],
            ["a.weight", "b.weight"],
            True,
        ),
        (["a.weight", "b.weight"], None, True),
        (None, ["a.weight", "b.weight"], True),
    ],
)
def test_parameters_in_another_order_are_refused_where_both_are_named(
    own: list[str] | None, parents: list[str] | None, fits: bool
) -> None:
    def adam(names: list[str] | None) -> optim.Adam:
        both = parameters((2,), (2,))
        return optim.Adam(both if names is None else list(zip(names, both, strict=True)))

    state, child = stepped(adam(parents)).state_dict(), adam(own)
    if fits:
        restore_optimizer(child, state)
        assert len(child.state) == 2
    else:
        with pytest.raises(ValueError, match=r"group 0 must have '[bc].weight' as its parameter"):
            restore_optimizer(child, state)
        assert not child.state


@pytest.mark.parametrize("shapes", [[(5,)], [(2, 2)], [(1,), (3,)]])
def test_the_one_vector_that_lbfgs_has_for_all_parameters_must_be_as_long(
    shapes: list[tuple[int, ...]],
) -> None:
    state = stepped(optim.LBFGS(parameters((3,)))).state_dict()
    child = optim.LBFGS(parameters(*shapes))
    with pytest.raises(ValueError, match="group 0 must"):
        restore_optimizer(child, state)
    assert not child.state


# Optimizers of others


class Prodigal(optim.Optimizer):
    """Keeps what it has learnt in its groups, as Prodigy and schedule-free optimizers do."""

    def __init__(self, params: Any, lr: float = 1.0, d0: float = 1e-6, growth: float = 2.0) -> None:
        super().__init__(params, {"lr": lr, "d0": d0, "d": d0, "growth": growth, "k": 0})

    def step(self, closure: Any = None) -> Any:  # noqa: ARG002 - as torch has it
        for group in self.param_groups:
            group["k"] += 1
            group["d"] *= group["growth"]
            group["seen"] = group.get("seen", 0) + 1  # not even in its defaults
            for parameter in group["params"]:
                self.state[parameter]["exp_avg"] = torch.ones(7)  # in a shape of its own


def test_what_an_optimizer_has_learnt_in_its_groups_is_the_parents_its_arguments_the_childs() -> (
    None
):
    parent = stepped(stepped(Prodigal(parameters((2,)), lr=0.1)))
    child = Prodigal(parameters((2,)), lr=0.3, growth=3.0)
    restore_optimizer(child, parent.state_dict())
    (group,) = child.param_groups
    assert (group["k"], group["seen"], group["d"]) == (2, 2, 4e-6)
    assert (group["lr"], group["growth"]) == (0.3, 3.0)
    assert len(next(iter(child.state.values()))["exp_avg"]) == 7


class Wrapping(optim.Optimizer):
    """Hides the arguments of another optimizer, as SAM does."""

    def __init__(self, params: Any, base: type[optim.Optimizer], rho: float, **kwargs: Any) -> None:
        super().__init__(params, {"rho": rho, **kwargs})
        self.base = base(self.param_groups, **kwargs)
        self.param_groups = self.base.param_groups
        self.defaults.update(self.base.defaults)


class Lookahead(optim.Optimizer):
    """Takes a whole optimizer."""

    def __init__(self, optimizer: optim.Optimizer, k: int = 5) -> None:
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.k = k


class Prefixing(optim.Optimizer):
    """Puts a word in front of its arguments, and of what it counts, as timm's Lookahead does."""

    def __init__(self, optimizer: optim.Optimizer, alpha: float) -> None:
        super().__init__(optimizer.param_groups, {**optimizer.defaults, "look_alpha": alpha})
        self.defaults["look_step"] = 0
        for group in self.param_groups:
            group["look_step"] = 0


class Forwarding(optim.AdamW):
    """Passes its arguments on."""

    def __init__(self, params: Any, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)


class Renaming(optim.Optimizer):
    """Calls an argument by another name than its groups do."""

    def __init__(self, params: Any, lr: float, wd: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": wd})


@pytest.mark.parametrize(
    "build",
    [
        lambda lr, decay: Wrapping(
            parameters((2,)), optim.SGD, 0.05, lr=lr, momentum=0.9, weight_decay=decay
        ),
        lambda lr, decay: Lookahead(optim.AdamW(parameters((2,)), lr=lr, weight_decay=decay)),
        lambda lr, decay: Forwarding(parameters((2,)), lr=lr, weight_decay=decay),
        lambda lr, decay: Renaming(parameters((2,)), lr=lr, wd=decay),
    ],
    ids=["wrapping", "lookahead", "forwarding", "renaming"],
)
def test_hyperparameters_that_a_constructor_hides_are_the_childs_all_the_same(
    build: Callable[[float, float], optim.Optimizer],
) -> None:
    child = build(0.3, 0.03)
    restore_optimizer(child, build(0.1, 0.01).state_dict())
    (group,) = child.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.03)


def test_an_argument_with_a_word_in_front_is_the_childs_and_a_count_with_it_the_parents() -> None:
    parent, child = (
        Prefixing(optim.AdamW(parameters((2,)), lr=lr), alpha=alpha)
        for lr, alpha in ((0.1, 0.5), (0.3, 0.7))
    )
    parent.param_groups[0]["look_step"] = 9
    restore_optimizer(child, parent.state_dict())
    (group,) = child.param_groups
    assert (group["lr"], group["look_alpha"], group["look_step"]) == (0.3, 0.7, 9)


def test_so_are_those_of_a_wrapped_optimizer_that_is_not_torchs() -> None:
    parent, child = (
        Wrapping(parameters((2,)), Prodigal, 0.05, lr=0.1, growth=growth) for growth in (2.0, 3.0)
    )
    restore_optimizer(child, parent.state_dict())
    assert child.param_groups[0]["growth"] == 3.0


def test_a_subclass_takes_the_state_of_its_base() -> None:
    child = Forwarding(parameters((2,)))
    restore_optimizer(child, stepped(optim.AdamW(parameters((2,)))).state_dict())
    assert child.state


@pytest.mark.parametrize(
    ("child", "parent", "theirs"),
    [
        (optim.Adam, Prodigal, "Prodigal|an optimizer with d, d0, growth, k, lr"),
        (Prodigal, optim.Adam, "Adam"),
        (optim.SGD, Prodigal, "Prodigal|an optimizer with d, d0, growth, k, lr"),
    ],
)
def test_optimizers_of_others_are_told_from_torchs_by_what_they_take(
    child: type[Any], parent: type[Any], theirs: str
) -> None:
    with pytest.raises(ValueError, match=f"must be of {child.__name__}, .* but is of ({theirs})"):
        restore_optimizer(child(parameters((2,))), parent(parameters((2,))).state_dict())
