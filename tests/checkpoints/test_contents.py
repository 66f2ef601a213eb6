"""What a state may hold, and what is refused by the name of its key."""

from __future__ import annotations

import math
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from epbt_optuna import CheckpointStore
from tests.checkpoints.same import same


class Custom:
    pass


class Tagged(torch.Tensor):
    pass


class Color(IntEnum):
    RED = 1


Pair = namedtuple("Pair", "a b")


def hung_on(tensor: torch.Tensor, value: Any) -> torch.Tensor:
    """Hang something on a tensor, as frameworks do."""
    tensor.tag = value  # type: ignore[attr-defined]
    return tensor


def nested(levels: int, innermost: Any = 0) -> Any:
    state = innermost
    for _ in range(levels):
        state = {"a": state}
    return state


def cycle_of(container: Any) -> Any:
    if isinstance(container, list):
        container.append((container,))
    else:
        container["a"] = {"b": container}
    return container


def save_and_load(folder: Path, state: Any, **options: Any) -> Any:
    checkpoints, trial = CheckpointStore(folder), optuna.create_study().ask()
    checkpoints.save(trial, state)
    return checkpoints.load(trial, **options)


def with_metadata(value: Any) -> OrderedDict[str, Any]:
    state: OrderedDict[str, Any] = OrderedDict(w=torch.ones(1))
    state.__dict__["_metadata"] = {"": value}
    return state


WEIGHTS = torch.arange(6.0).reshape(2, 3)
COMPLEX = torch.tensor([1 + 2j, 3 - 1j])
STRUCTURED = np.zeros(2, [("a", "i4"), ("b", "U3", (2,)), ("c", "f8")])


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        2**2039 - 1,
        -(2**2039),
        math.nan,
        complex(-0.0, math.inf),
        b"",
        b"\x00\xff" * 300,
        bytearray(b"\xff"),
        "\ud800 \x00 \U0001f600",
        {1, "a", (2, None), b"x"},
        Counter("aab"),
        {(1, ("a", None)): 1, torch.Size([2]): 2, np.int64(3): 3, 1.5: 4, None: 5, b"k": 6},
        OrderedDict(b=1, a=2),
        with_metadata({"version": 2}),
        torch.device("cuda", 1),
        torch.Size([2, 3]),
        [torch.strided, torch.sparse_csr, torch.per_tensor_affine],
        [torch.float8_e4m3fn, torch.bits8, torch.quint8, torch.complex32],
        hung_on(torch.zeros(2), {"lr_scale": 0.5}),
        hung_on(torch.nn.Parameter(torch.zeros(3, 2))[1].detach(), ["head"]),
        hung_on(torch.nn.Parameter(WEIGHTS[1]), (1, "x")),
        torch.nn.Parameter(torch.arange(3), requires_grad=False),
        WEIGHTS.clone().requires_grad_(),
        torch.nn.Buffer(WEIGHTS),
        torch.zeros(1).expand(1000, 1000),
        torch.zeros(5)[2:].expand(7, 3),
        torch.zeros(3, 4)[:, :0],
        WEIGHTS.to(torch.float8_e5m2),
        COMPLEX.conj(),
        COMPLEX.conj().imag,
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.ones((2, 3), np.float16)),
        np.arange(6, dtype=">i2")[::-2],
        np.array(["a", "äöü", ""]),
        np.array([b"a\x00", b""]),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.zeros((2, 0, 3), "M8[ns]"),
        np.array([], "U5"),
        np.array(math.nan),
        np.broadcast_to(np.float32(2), (3, 2)),
        np.linspace(0, 1, 3).astype(np.longdouble),
        STRUCTURED,
        STRUCTURED[0],
        STRUCTURED["c"],
        np.float64(0.5),
        np.float32(math.nan),
        np.bool_(True),
        np.str_("äöü"),
        np.bytes_(b"ab"),
        np.datetime64("NaT"),
        np.timedelta64(3, "s"),
        np.longdouble(1) / 3,
        np.complex64(1j),
        np.void(b"ab\x00"),
        np.dtype(">f8"),
        STRUCTURED.dtype,
        np.random.default_rng(0).bit_generator.state,
        np.random.RandomState(0).get_state(),
        random.Random(0).getstate(),
        nested(99),
    ],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}",
)
def test_what_can_be_read_back_safely_comes_back_as_it_was(
    tmp_path: Path, value: Any, mmap: bool
) -> None:
    assert same(save_and_load(tmp_path, {"value": value}, mmap=mmap), {"value": value})


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, that they are in beta or deprecated
def test_sparse_quantized_and_nested_tensors_come_back(tmp_path: Path) -> None:
    sparse = [torch.eye(3).to_sparse(), torch.nn.Parameter(torch.eye(3).to_sparse())]
    sparse += [torch.eye(4).to_sparse_csr(), torch.eye(4).to_sparse_bsc((2, 2))]
    assert same(save_and_load(tmp_path, sparse), sparse)
    quantized = torch.quantize_per_channel(WEIGHTS, torch.ones(2), torch.zeros(2), 0, torch.qint8)
    loaded = save_and_load(
        tmp_path, [quantized, torch.nested.nested_tensor([WEIGHTS, WEIGHTS[:1]])]
    )
    assert torch.equal(loaded[0].int_repr(), quantized.int_repr())
    assert torch.equal(loaded[0].q_per_channel_scales(), quantized.q_per_channel_scales())
    assert [part.shape for part in loaded[1].unbind()] == [(2, 3), (1, 3)]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"n": 2**2039}, r"`state\['n'\]` must be an integer below 2\*\*2039 .* 2040 bits"),
        ({"n": -(2**2039) - 1}, r"`state\['n'\]` must be an integer .* 2040 bits"),
        (None, "`state` must hold something but got None, which founders inherit"),
        ([1, (2, Custom())], r"`state\[1\]\[1\]` must be .*Custom"),
        ({"fn": print}, r"`state\['fn'\]` must be .*builtin_function"),
        ({"s": frozenset([1])}, r"`state\['s'\]` must be .*builtins\.frozenset"),
        ({"d": defaultdict(list)}, r"`state\['d'\]` must be .*collections\.defaultdict"),
        ({"d": deque()}, r"`state\['d'\]` must be .*collections\.deque"),
        ({"pair": Pair(1, 2)}, r"`state\['pair'\]` must be .*Pair"),
        ({"color": Color.RED}, r"`state\['color'\]` must be .*Color"),
        ({"f": torch.channels_last}, r"`state\['f'\]` must be .*torch\.memory_format"),
        ({torch.nn.Parameter(WEIGHTS): 0}, r"`a key of state` must be .* Parameter"),
        ({"a": {(1, frozenset()): 0}}, r"`an item of a key of state\['a'\]` must be .*frozenset"),
        ({"s": {Color.RED}}, r"`an element of state\['s'\]` must be .*Color"),
        ({"x": hung_on(torch.zeros(2), max)}, r"`state\['x'\]\.tag` must be .*builtin_function"),
        (
            {"x": hung_on(torch.nn.Parameter(WEIGHTS), [Custom()])},
            r"`state\['x'\]\.tag\[0\]` must be .*Custom",
        ),
        (with_metadata(Custom()), r"`state\._metadata\[''\]` must be .*Custom"),
        (hung_on(Counter(a=1), 1), r"`state` must have no attributes but has 'tag'"),  # type: ignore[arg-type]
        ({"w": torch.zeros(1).as_subclass(Tagged)}, r"`state\['w'\]` must be a plain .* Tagged"),
        (
            torch.nn.LazyLinear(1).state_dict(),
            r"got UninitializedParameter.* call the network once",
        ),
        ({"w": torch.eye(2).to_sparse().requires_grad_()}, r"`state\['w'\]` must be a tensor that"),
        ({"w": torch.zeros(2).to_mkldnn()}, r"`state\['w'\]` must be a tensor that .*_mkldnn"),
        ({"w": torch.empty(2, dtype=torch.int4)}, r"`state\['w'\]` must be a tensor .*int4"),  # type: ignore[attr-defined]
        ({"a": np.array([None])}, r"`state\['a'\]` must have a dtype .* got object"),
        ({"a": np.zeros(1, [("x", "O")])}, r"`state\['a'\]` must have a dtype"),
        ({"a": np.ma.array([1])}, r"`state\['a'\]` must be .*MaskedArray"),
        ({"a": np.str_("a\x00")}, r"`state\['a'\]` must be .*numpy\.str_"),
        ({"a": np.random.default_rng(0)}, r"`state\['a'\]` must be .*Generator"),
        (cycle_of({}), r"`state\['a'\]\['b'\]` must not hold itself"),
        (cycle_of([]), r"`state\[0\]\[0\]` must not hold itself"),
        (nested(400), r"`state(\['a'\])+ … .*` must lie at most 100 levels deep"),
        ({"x" * 10**6: {"y": Custom()}}, r"^`state\['x{93} … x{93,}'\]\['y'\]` must be .*Custom"),
    ],
)
def test_what_could_not_be_read_back_safely_is_refused_by_the_name_of_its_key(
    tmp_path: Path, state: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        CheckpointStore(tmp_path).save(optuna.create_study().ask(), state)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "value",
    [
        torch.nn.Linear(1, 1),
        torch.optim.SGD([torch.zeros(1)]),
        torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD([torch.zeros(1)])),
    ],
)
def test_what_has_a_state_dict_is_refused_with_that_advice(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"`state\['it'\]` .* Save what its `\.state_dict\(\)` ret"):
        CheckpointStore(tmp_path).save(optuna.create_study().ask(), {"it": value})


def test_what_writes_its_own_files_is_refused_with_that_advice(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"`state` .* or save a file of it by `save_path`"):
        CheckpointStore(tmp_path).save(optuna.create_study().ask(), Custom())


def test_a_tensor_without_data_is_refused(tmp_path: Path) -> None:
    state = {"w": torch.zeros(1, device="meta")}
    with pytest.raises(ValueError, match=r"`state\['w'\]` must have data"):
        CheckpointStore(tmp_path).save(optuna.create_study().ask(), state)


def test_one_list_in_many_places_is_walked_once_and_stays_one(tmp_path: Path) -> None:
    state: list[Any] = []
    for _ in range(60):  # a walk that visited each place would see 2**60
        state = [state, state]
    loaded = save_and_load(tmp_path, state)
    assert loaded[0] is loaded[1]
    assert loaded[0][1] is loaded[1][0]
