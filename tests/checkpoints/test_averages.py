"""Which values of two states are averaged, and which are the parent's."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from epbt_optuna.checkpoints.averages import averaged
from epbt_optuna.checkpoints.mixed import NotAveragedError
from tests.checkpoints.same import same, ties


def average(own: Any, other: Any, weight: float = 0.25, only: Any = None) -> Any:
    """Return the average, of copies: what is passed in stays as it is."""
    return averaged(deepcopy(own), lambda: deepcopy(other), weight, only)


def trained(seed: int, optimizer_class: Any = torch.optim.AdamW, n_steps: int = 3) -> Any:
    """Return the state of a network with batch normalisation after a few steps."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = optimizer_class(model.parameters(), lr=0.01 * (seed + 1))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(n_steps + seed):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
        scheduler.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "epoch": n_steps + seed,
        "rng": [torch.get_rng_state(), np.random.default_rng(seed).bit_generator.state],
    }


def between(own: torch.Tensor, other: torch.Tensor, weight: float) -> torch.Tensor:
    """Say it again in NumPy's words: (1 − w)·x + w·y in single precision."""
    x, y = own.numpy(), other.numpy()
    assert x.dtype == y.dtype == np.float32
    result = np.float32(1 - weight) * x + np.float32(weight) * y
    return torch.from_numpy(np.asarray(result, dtype=np.float32))


def test_weights_and_normalisation_statistics_are_averaged_and_counters_are_the_parents() -> None:
    own, other = trained(0), trained(1)
    result = average(own, other)
    for name, value in result["model"].items():
        expected = own["model"][name]
        if not name.endswith("num_batches_tracked"):
            expected = between(expected, other["model"][name], 0.25)
            assert not torch.equal(value, own["model"][name])
        assert same(value, expected), name
    assert own["model"]["1.num_batches_tracked"] != other["model"]["1.num_batches_tracked"]


def test_moments_are_averaged_and_steps_and_hyperparameters_are_the_parents() -> None:
    own, other = trained(0), trained(1)
    result = average(own, other)["optimizer"]
    assert same(result["param_groups"], own["optimizer"]["param_groups"])
    for index, buffers in result["state"].items():
        mine, theirs = own["optimizer"]["state"][index], other["optimizer"]["state"][index]
        assert mine["step"] != theirs["step"]
        assert same(buffers["step"], mine["step"])
        for name in ("exp_avg", "exp_avg_sq"):
            assert same(buffers[name], between(mine[name], theirs[name], 0.25))


def test_schedulers_counts_and_random_states_are_the_parents() -> None:
    own, other = trained(0), trained(1)
    result = average(own, other)
    for key in ("scheduler", "epoch", "rng"):
        assert same(result[key], own[key])
        assert not same(result[key], other[key])


def test_a_rate_that_is_a_tensor_is_a_hyperparameter_in_a_scheduler_too() -> None:
    def state(lr: float) -> Any:
        model = nn.Linear(1, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(lr))
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
        return {"model": {"w": torch.tensor([lr])}, "scheduler": scheduler.state_dict()}

    own = state(0.5)
    assert any(isinstance(rate, torch.Tensor) for rate in own["scheduler"]["base_lrs"])
    assert same(average(own, state(0.1))["scheduler"], own["scheduler"])


@pytest.mark.parametrize(
    ("optimizer_class", "moments"),
    [
        (torch.optim.NAdam, {"exp_avg", "exp_avg_sq"}),
        (torch.optim.ASGD, {"ax"}),
        (torch.optim.Rprop, {"prev", "step_size"}),
        (torch.optim.Adagrad, {"sum"}),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), ()])
def test_what_an_optimizer_computes_from_a_count_is_not_averaged(
    optimizer_class: Any, moments: set[str], shape: tuple[int, ...]
) -> None:
    def state(n_steps: int) -> Any:
        parameter = nn.Parameter(torch.full(shape, 1.0 + n_steps))
        optimizer = optimizer_class([parameter])
        for _ in range(n_steps):
            parameter.grad = torch.full(shape, 1.0 + n_steps)
            optimizer.step()
        return optimizer.state_dict()

    own = state(2)
    result, mine = average(own, state(5))["state"][0], own["state"][0]
    changed = {name for name, value in result.items() if not same(value, mine[name])}
    assert changed == moments - {n for n in moments if same(mine[n], state(5)["state"][0][n])}
    assert changed


@pytest.mark.parametrize(
    ("kind", "coded"),
    [
        ("codes of eight bits", torch.uint8),
        ("a history of steps", None),
        ("weights", torch.float32),
    ],
)
def test_moments_that_mean_something_only_with_codes_or_lists_beside_them_are_the_parents(
    kind: str, coded: torch.dtype | None
) -> None:
    def state(value: int) -> Any:
        beside = [torch.ones(2)] if coded is None else torch.full((2,), value, dtype=coded)
        buffers = {"beside": beside, "scale": torch.full((1,), float(value))}
        return {"w": torch.ones(1), "o": {"state": {0: buffers}, "param_groups": [{"lr": 0.1}]}}

    result = average(state(1), state(3), 0.5)["o"]["state"][0]
    assert same(result, state(2 if kind == "weights" else 1)["o"]["state"][0])


def test_an_optimizer_is_known_by_its_groups_and_a_scheduler_by_its_rates() -> None:
    def state(value: float) -> Any:
        buffers = {0: {"step": torch.tensor(value), "exp_avg": torch.full((2,), value)}}
        rate = torch.tensor(value)
        return {
            "lookahead": {
                "fast_state": buffers,
                "slow_state": {0: {"slow": torch.full((2,), value)}},
                "param_groups": [{"lr": rate}],
            },
            "chained": {"_schedulers": [{"last_epoch": 1, "_last_lr": [rate]}], "_last_lr": [rate]},
        }

    own, result = state(1.0), average(state(1.0), state(3.0), 0.5)
    assert result["lookahead"]["fast_state"][0]["exp_avg"].tolist() == [2, 2]
    assert result["lookahead"]["slow_state"][0]["slow"].tolist() == [2, 2]
    assert result["lookahead"]["fast_state"][0]["step"] == 1
    assert same(result["lookahead"]["param_groups"], own["lookahead"]["param_groups"])
    assert same(result["chained"], own["chained"])


def test_a_number_beside_moments_with_dimensions_is_a_count_by_whatever_name() -> None:
    def state(value: float) -> Any:
        buffers = {"trust": torch.tensor(value), "momentum": torch.full((2,), value)}
        return {"state": {0: buffers}, "param_groups": [{"lr": 0.1}]}

    result = average(state(1.0), state(3.0), 0.5)["state"][0]
    assert same(result, {"trust": torch.tensor(1.0), "momentum": torch.full((2,), 2.0)})


def test_moments_that_only_one_has_or_that_differ_in_shape_are_the_parents() -> None:
    def optimizer(**buffers: torch.Tensor) -> Any:
        return {"state": {0: buffers}, "param_groups": []}

    own = optimizer(a=torch.ones(2), b=torch.ones(2), c=torch.ones(2))
    other = optimizer(a=torch.zeros(2), b=torch.zeros(3), d=torch.zeros(2))
    result = average(own, other, 0.5)["state"][0]
    assert same(result, {"a": torch.full((2,), 0.5), "b": torch.ones(2), "c": torch.ones(2)})
    untrained: Any = {"state": {}, "param_groups": []}
    model = {"w": torch.ones(1)}
    result = average({"model": model, "optimizer": own}, {"model": model, "optimizer": untrained})
    assert same(result["optimizer"], own)


@pytest.mark.parametrize(
    ("dtype", "computed_in"),
    [(torch.float16, np.float32), (torch.float32, np.float32), (torch.float64, np.float64)],
)
def test_the_arithmetic_is_in_single_precision_and_doubles_in_their_own(
    dtype: torch.dtype, computed_in: Any
) -> None:
    own = torch.linspace(-3, 5, 1001).to(dtype)
    other = own.flip(0) / 3
    x, y = (value.numpy().astype(computed_in) for value in (own, other))
    expected = torch.from_numpy(computed_in(0.7) * x + computed_in(0.3) * y).to(dtype)
    result = average({"w": own}, {"w": other}, 0.3)["w"]
    assert result.dtype == dtype
    assert torch.allclose(result, expected, rtol=1e-15 if dtype == torch.float64 else 0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64, torch.float8_e4m3fn])
def test_other_floating_tensors_keep_their_type(dtype: torch.dtype) -> None:
    own, other = torch.tensor([1.0, 2.0]).to(dtype), torch.tensor([2.0, 4.0]).to(dtype)
    result = average({"w": own}, {"w": other}, 0.5)["w"]
    assert same(result, torch.tensor([1.5, 3.0]).to(dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "f2", "c8", "g"])
def test_arrays_of_numpy_are_averaged_like_tensors(dtype: str) -> None:
    own, b, c = np.array([1, 2], dtype), np.array(7, dtype), np.array(-7, dtype)
    state = average({"w": own, "b": b, "n": 3}, {"w": (3 * own).astype(dtype), "b": c, "n": 4}, 0.5)
    assert same(state, {"w": np.array([2, 4], dtype), "b": np.array(0, dtype), "n": 3})


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    own, other = (torch.randn(70_001, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    before = torch.get_num_threads()
    try:
        results = []
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            results.append(average({"w": own}, {"w": other}, 0.3)["w"])
    finally:
        torch.set_num_threads(before)
    assert same(*results)
    assert same(results[0], between(own, other, 0.3))


def test_what_is_equal_in_both_stays_as_it_is() -> None:
    mask = torch.full((3, 3), -torch.inf).triu(1)
    backbone = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    own = {"mask": mask, "backbone": backbone, "head": torch.ones(1)}
    result = average(own, {**own, "head": torch.zeros(1)}, 0.3)
    assert same(result, {**own, "head": torch.full((1,), 0.7)})


def test_a_model_keeps_its_order_its_metadata_and_its_parameters() -> None:
    own = trained(0)["model"]
    own["extra"] = nn.Parameter(torch.ones(2), requires_grad=False)
    own["extra"].tag = "head"
    other = deepcopy(own)
    other["extra"] = nn.Parameter(torch.zeros(2))
    result: Any = averaged(own, lambda: other, 0.5, None)
    assert list(result) == list(own)
    assert type(result) is OrderedDict
    assert vars(result) == vars(own) != {}  # torch's `_metadata`
    assert type(result["extra"]) is nn.Parameter
    assert not result["extra"].requires_grad
    assert vars(result["extra"]) == {"tag": "head"}
    assert torch.equal(result["extra"], torch.full((2,), 0.5))


def test_tensors_that_share_memory_are_averaged_once_and_share_it_again() -> None:
    def state(value: float) -> Any:
        weight = torch.full((4, 2), value)
        same_object = torch.full((3,), value)
        return {
            "encoder": weight.detach(),
            "decoder": weight.detach(),
            "rows": [same_object, (same_object, "text")],
        }

    result = average(state(1.0), state(3.0), 0.5)
    assert torch.equal(result["decoder"], torch.full((4, 2), 2.0))
    assert torch.equal(result["rows"][1][0], torch.full((3,), 2.0))
    assert ties(result) == [(0, 1)]
    assert result["rows"][0] is result["rows"][1][0]


def test_only_names_the_top_level_keys_that_are_averaged() -> None:
    own, other = trained(0), trained(1)
    result = average(own, other, only=["model"])
    assert same({**result, "model": None}, {**own, "model": None})
    assert same(result["model"], average(own, other)["model"])
    del other["optimizer"]  # what is not named need not fit
    assert same(average(own, other, only={"model"})["model"], result["model"])


def test_a_key_that_the_state_does_not_have_is_an_error_and_not_a_fallback() -> None:
    own = {"model": {"w": torch.ones(1)}}
    with pytest.raises(ValueError, match=r"`only` must hold .*\['model'\], but got \['modle'\]"):
        average(own, own, only=["modle"])
    with pytest.raises(ValueError, match="`only`"):
        average([torch.ones(1)], [torch.ones(1)], only=["model"])


W = {"w": torch.ones(2)}


@pytest.mark.parametrize(
    ("own", "other", "why"),
    [
        ({**W, "b": torch.ones(1)}, W, r"`state\['b'\]` is missing in the mate's state"),
        (W, {**W, "b": torch.ones(1)}, r"`state\['b'\]` is missing in the parent's state"),
        (W, {"w": torch.ones(3)}, r"shape \(2,\) in the parent's state, .* \(3,\) in the mate's"),
        (W, {"w": torch.ones(2, dtype=torch.float64)}, "of torch.float32 .* of torch.float64"),
        (W, {"w": np.ones(2, "f4")}, "of torch.float32 .* of float32"),
        (W, {"w": torch.tensor([1, torch.inf])}, r"`state\['w'\]` would not be finite"),
        (W, {"w": torch.tensor([torch.nan, 1])}, "would not be finite"),
        ({"w": torch.tensor([torch.nan, 1])}, W, "would not be finite"),
        ({"w": np.array([np.inf])}, {"w": np.array([1.0])}, "would not be finite"),
        (W, [torch.ones(2)], "is missing"),
        ({"epoch": 3}, {"epoch": 4}, "no tensors"),
    ],
)
def test_states_that_do_not_fit_are_named_and_left_as_they_were(
    own: Any, other: Any, why: str
) -> None:
    state = deepcopy({"first": torch.zeros(1), "state": own} if isinstance(other, list) else own)
    before = deepcopy(state)
    with pytest.raises(NotAveragedError, match=why):
        averaged(state, lambda: other, 0.5, None)
    assert same(state, before)


def test_a_type_that_torch_cannot_compute_with_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def equal(*_: torch.Tensor) -> bool:  # as it is with complex32 on a CPU
        raise NotImplementedError("'equal_cpu' not implemented for 'ComplexHalf'")

    monkeypatch.setattr(torch, "equal", equal)
    with pytest.raises(NotAveragedError, match=r"`state\['w'\]` is torch.float32: no type to comp"):
        averaged(W, lambda: deepcopy(W), 0.5, None)


OTHER_KINDS: list[Callable[[float], torch.Tensor]] = [
    lambda x: torch.diag(torch.tensor([x, 1])).to_sparse(),
    lambda x: torch.diag(torch.tensor([x, 1])).to_sparse_csr(),
    lambda x: torch.quantize_per_tensor(torch.tensor([x, 1]), 0.5, 0, torch.qint8),
]


@pytest.mark.filterwarnings("ignore:.*Sparse CSR:UserWarning", "ignore:.*quantize:UserWarning")
@pytest.mark.parametrize("make", OTHER_KINDS, ids=["coo", "csr", "quantized"])
def test_half_of_a_model_is_not_averaged_where_the_other_half_cannot_be(
    make: Callable[[float], torch.Tensor],
) -> None:
    own = {"b": torch.zeros(1), "w": make(1.0)}
    with pytest.raises(NotAveragedError, match=r"\['w'\]` is sparse, nested or quantized, and not"):
        averaged(own, lambda: {"b": torch.ones(1), "w": make(2.0)}, 0.5, None)
    with pytest.raises(NotAveragedError, match=r"\['w'\]` is sparse, nested or quantized"):
        averaged(own, lambda: {"b": torch.ones(1), "w": torch.ones(2)}, 0.5, None)
    assert own["b"] == 0
    averaged(own, lambda: {"b": torch.ones(1), "w": make(1.0)}, 0.5, None)
    assert own["b"] == 0.5


def test_nothing_has_changed_when_the_last_tensor_turns_out_not_to_be_finite() -> None:
    own: Any = {
        "a": torch.ones(2),
        "optimizer": {"state": {0: {"m": torch.ones(2)}}, "param_groups": []},
    }
    other = deepcopy(own)
    other["a"] += 1
    other["optimizer"]["state"][0]["m"][1] = torch.inf
    before = deepcopy(own)
    with pytest.raises(NotAveragedError, match=r"\['m'\]` would not be finite"):
        averaged(own, lambda: other, 0.5, None)
    assert same(own, before)


def test_each_tensor_of_the_mate_is_let_go_as_soon_as_it_is_averaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    n_alive: list[int] = []
    real = torch.isfinite

    def isfinite(tensor: torch.Tensor) -> torch.Tensor:
        n_alive.append(sum(ref() is not None for ref in alive))
        return real(tensor)

    def read() -> Any:
        tensors = [torch.full((2,), float(i)) for i in range(5)]
        alive.extend(map(weakref.ref, tensors))
        return {"model": dict(enumerate(tensors))}

    monkeypatch.setattr(torch, "isfinite", isfinite)
    averaged({"model": {i: torch.ones(2) * -1 for i in range(5)}}, read, 0.5, None)
    assert n_alive == [5, 4, 3, 2, 1]
