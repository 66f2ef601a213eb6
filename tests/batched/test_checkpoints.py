"""Checkpoints of batches: one for each member, in the format of a loop over trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch import Tensor, nn

from epbt_optuna import CheckpointError, CheckpointStore, ask_generation, batched
from epbt_optuna.batched import Generation, each
from tests.batched.separate import Networks, Optimizers, build, make_study
from tests.replay import lineage_of


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


class Stacked:
    """One tensor for all members, as a stack has it."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def member_state_dict(self, i: int) -> dict[str, Tensor]:
        return {"weight": self.weight[i]}

    def load_member_state_dict(self, i: int, state: dict[str, Tensor]) -> None:
        self.weight[i] = state["weight"]


def begun(study: optuna.Study, checkpoints: CheckpointStore, **state: Any) -> Generation:
    """Run generation 0, which saves this, and return the next one."""
    first = Generation(ask_generation(study), checkpoints=checkpoints)
    assert first.inherit() == {}
    first.save(**state)
    for trial in first.trials:
        study.tell(trial, float(trial.number))
    return Generation(ask_generation(study), checkpoints=checkpoints)


def parents_of(generation: Generation) -> list[int]:
    study = generation.trials[0].study
    records = [lineage_of(study.trials[trial.number]) for trial in generation.trials]
    return [record["parent"] for record in records if record is not None]


def test_each_member_starts_from_its_own_parent(checkpoints: CheckpointStore) -> None:
    founders = Stacked(torch.arange(12.0).reshape(6, 2))
    second = begun(make_study(), checkpoints, model=founders)
    offspring = Stacked(torch.zeros(3, 2))
    assert second.inherit(model=offspring) == {}
    assert torch.equal(offspring.weight, founders.weight[parents_of(second)])


def test_founders_stay_as_they_were_built(checkpoints: CheckpointStore) -> None:
    generation = Generation(ask_generation(make_study()), checkpoints=checkpoints)
    model = Stacked(torch.arange(12.0).reshape(6, 2))
    rest = generation.inherit(model=model, epoch=3, rate=[0.5] * 6, seen=torch.zeros(6, 2), note="")
    assert torch.equal(model.weight, torch.arange(12.0).reshape(6, 2))
    assert torch.equal(rest["epoch"], torch.full((6,), 3))
    assert torch.equal(rest["rate"], torch.full((6,), 0.5))
    assert torch.equal(rest["seen"], torch.zeros(6, 2))
    assert rest["note"] == [""] * 6


def test_a_loop_and_a_batch_go_on_from_each_other(checkpoints: CheckpointStore) -> None:
    study = make_study()
    networks = Networks(build, 6)
    optimizers = Optimizers(networks, [0.1] * 6)
    networks(torch.ones(1, 3).double()).sum().backward()
    optimizers.step()
    second = begun(study, checkpoints, model=networks, optimizer=optimizers, epoch=torch.arange(6))
    parent = parents_of(second)[0]
    state = checkpoints.inherit(second.trials[0])
    assert state is not None
    assert list(state) == ["model", "optimizer", "epoch"]
    assert state["epoch"] == parent
    assert type(state["epoch"]) is int
    build().load_state_dict(state["model"])
    torch.optim.SGD(build().parameters(), lr=0.2, momentum=0.9).load_state_dict(state["optimizer"])
    for trial in second.trials:  # a loop's own
        checkpoints.save(trial, {**state, "epoch": trial.number})
        study.tell(trial, 100.0 + trial.number)
    third = Generation(ask_generation(study), checkpoints=checkpoints)
    model = Networks(build, 3)
    optimizer = Optimizers(model, [0.1] * 3)
    inherited = third.inherit(model=model, optimizer=optimizer, epoch=0)
    assert torch.equal(inherited["epoch"], torch.tensor(parents_of(third)).clip(min=0))


def test_a_checkpoint_holds_one_member_and_not_the_memory_of_all(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    one = 100_000
    begun(make_study(), checkpoints, model=Stacked(torch.zeros(6, one)), own=torch.zeros(6, one))
    files = [path for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()]
    assert len(files) == 6
    for path in files:
        assert 2 * 4 * one < path.stat().st_size < 2 * 4 * one + 10_000


def test_what_is_saved_has_an_entry_for_each_or_is_everybodys(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    second = begun(
        study,
        checkpoints,
        rate=torch.linspace(0, 1, 6, dtype=torch.float64),
        names=list("abcdef"),
        rows=each(torch.arange(12).reshape(6, 2)),
        rng={"state": torch.arange(3)},
        all=torch.tensor(5),
        text="same",
    )
    parents = parents_of(second)
    found = second.inherit(rate=0, names=None, rows=None, rng=None, all=0, text="")
    assert found["rate"].tolist() == pytest.approx([parent / 5 for parent in parents])
    assert found["names"] == ["abcdef"[parent] for parent in parents]
    assert found["rows"].tolist() == [[2 * parent, 2 * parent + 1] for parent in parents]
    assert all(torch.equal(rng["state"], torch.arange(3)) for rng in found["rng"])
    assert found["all"].tolist() == [5, 5, 5]
    assert found["text"] == ["same"] * 3


@pytest.mark.parametrize("value", [torch.zeros(5), [0] * 7, (), torch.zeros(1, 6)])
def test_too_few_entries_are_refused_before_anything_is_saved(
    checkpoints: CheckpointStore, value: object, tmp_path: Path
) -> None:
    generation = Generation(ask_generation(make_study()), checkpoints=checkpoints)
    with pytest.raises(ValueError, match="`epoch` must have an entry for each of the 6 trials"):
        generation.save(epoch=value)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    "value",
    [
        {"weight": torch.zeros(6, 2)},
        {"state": {0: {"exp_avg": torch.zeros(6)}}, "lr": 0.1},
        {"weight": np.zeros((6, 2))},
    ],
)
def test_a_dict_with_tensors_of_all_members_is_refused_before_anything_is_saved(
    checkpoints: CheckpointStore, value: Any
) -> None:
    study = make_study()
    generation = Generation(ask_generation(study), checkpoints=checkpoints)
    for call in (generation.inherit, generation.save):
        with pytest.raises(ValueError, match="`ema` must be no dict with tensors of all 6 trials"):
            call(ema=value)
    assert not any("epbt:checkpoint" in trial.system_attrs for trial in study.trials)


def test_members_that_have_ended_save_nothing(checkpoints: CheckpointStore) -> None:
    study = make_study()
    generation = Generation(ask_generation(study), checkpoints=checkpoints)
    study.tell(1, state=TrialState.FAIL)
    generation.save(epoch=0)
    assert checkpoints.load(study.trials[0]) == {"epoch": 0}
    with pytest.raises(CheckpointError, match="Trial 1 saved no checkpoint"):
        checkpoints.load(study.trials[1])


def networks_of(width: int, n: int) -> Networks:
    return Networks(lambda: nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2)).double(), n)


def test_states_of_another_shape_are_named_and_nothing_is_loaded(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    first = Generation(ask_generation(study), checkpoints=checkpoints)
    narrow, wide = networks_of(4, 6), networks_of(8, 6)
    for i, trial in enumerate(first.trials):
        checkpoints.save(trial, {"model": (wide if i in (3, 4) else narrow).member_state_dict(i)})
        study.tell(trial, 1.0 if i > 2 else 0.0)
    second = Generation(ask_generation(study), checkpoints=checkpoints)
    parents = parents_of(second)
    misfits = [i for i, parent in enumerate(parents) if parent in (3, 4)]
    assert 0 < len(misfits) < 3
    model = networks_of(4, 3)
    before = [{k: v.clone() for k, v in model.member_state_dict(i).items()} for i in range(3)]
    with pytest.raises(ValueError, match="cannot go on from what they inherit") as error:
        second.inherit(model=model)
    for i, trial in enumerate(second.trials):
        named = f"Trial {trial.number}, which inherits from trial {parents[i]}: `model` "
        assert (named in str(error.value)) == (i in misfits)
        after = model.member_state_dict(i)
        assert all(torch.equal(after[key], before[i][key]) for key in after)
    assert "'0.weight' has shape (8, 3) in it but (4, 3) in the new one" in str(error.value)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"weights": 0}, r"the state has no 'model' but \['weights'\]"),
        ({"model": {}}, "`model` does not fit: it lacks 'weight'"),
        ({"model": {"weight": torch.zeros(2), "bias": torch.zeros(2)}}, "'bias' has no place"),
        ({"model": 3}, r"`model` does not fit: it must be a `state_dict\(\)` but is a int"),
    ],
)
def test_a_state_without_what_is_wanted_is_an_error_that_names_the_key(
    checkpoints: CheckpointStore, saved: dict[str, Any], message: str
) -> None:
    second = begun(make_study(), checkpoints, **saved)
    with pytest.raises(ValueError, match=rf"Trial 6, which inherits from trial \d: .*{message}"):
        second.inherit(model=Stacked(torch.zeros(3, 2)))


def test_a_state_that_is_no_dict_is_an_error(checkpoints: CheckpointStore) -> None:
    study = make_study()
    for trial in ask_generation(study):
        checkpoints.save(trial, 5)
        study.tell(trial, 0.0)
    second = Generation(ask_generation(study), checkpoints=checkpoints)
    with pytest.raises(ValueError, match=r"Trial 6.*: the state must be a dict but is a int"):
        second.inherit(epoch=0)


class Refusing(Stacked):
    """An owner that finds a reason of its own."""

    def load_member_state_dict(self, *_: object) -> None:
        raise KeyError("momentum")


def test_what_an_owner_refuses_names_the_trial(checkpoints: CheckpointStore) -> None:
    second = begun(make_study(), checkpoints, optimizer=Stacked(torch.zeros(6, 2)))
    with pytest.raises(ValueError, match=r"Trial 6.*: `optimizer` does not fit: 'momentum'"):
        second.inherit(optimizer=Refusing(torch.zeros(3, 2)))


def test_another_class_of_optimizer_names_the_trial(checkpoints: CheckpointStore) -> None:
    model = batched.stack(build, 6)
    optimizer = batched.SGD(model.parameters(), lr=0.1)
    second = begun(make_study(), checkpoints, optimizer=optimizer)
    other = batched.AdamW(batched.stack(build, 3).parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"Trial 6.*does not fit: .* AdamW,.* but is of SGD"):
        second.inherit(optimizer=other)


def test_options_of_the_store_are_passed_on(checkpoints: CheckpointStore) -> None:
    study = make_study()
    for trial in ask_generation(study):
        study.tell(trial, 0.0)
    second = Generation(ask_generation(study), checkpoints=checkpoints)
    with pytest.raises(CheckpointError, match="saved no checkpoint"):
        second.inherit(epoch=0)
    assert second.inherit(epoch=0, missing="fresh")["epoch"].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="`missing` must be"):
        second.inherit(epoch=0, missing="fresher")


@pytest.mark.parametrize("name", ["map_location", "missing", "mmap"])
def test_a_part_of_a_state_cannot_have_an_options_name(
    checkpoints: CheckpointStore, name: str
) -> None:
    generation = Generation(ask_generation(make_study()), checkpoints=checkpoints)
    with pytest.raises(ValueError, match=f"`{name}` cannot be the name of a part"):
        generation.save(final=True, **{name: 0})


def test_without_a_store_both_say_what_to_pass() -> None:
    generation = Generation(ask_generation(make_study()))
    for method in (generation.inherit, generation.save):
        with pytest.raises(ValueError, match=f"`{method.__name__}` needs a store: pass"):
            method(epoch=0)


def test_a_partial_checkpoint_is_a_retrys_and_not_a_childs(checkpoints: CheckpointStore) -> None:
    study = make_study()
    generation = Generation(ask_generation(study), checkpoints=checkpoints)
    generation.save(epoch=torch.arange(6), final=False)
    for trial in generation.trials:
        study.tell(trial, 0.0)
    second = Generation(ask_generation(study), checkpoints=checkpoints)
    with pytest.raises(CheckpointError, match="saved no checkpoint"):
        second.inherit(epoch=0)
