"""The page "Your own operators": its blocks run in their order, and what it says of them is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from epbt_optuna.genome import Genome

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"


def read_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the blocks have defined, run in an empty folder."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for block in read_blocks():
            exec(block, names)
    return names


def test_the_operator_makes_long_steps_more_often_than_gaussian_noise(page: dict[str, Any]) -> None:
    genome = Genome({"x": 0.5}, {"x": FloatDistribution(-10, 10)})
    mutation, rng = page["CauchyMutation"](scale=0.02), np.random.default_rng(0)
    steps = np.abs([mutation(genome, rng).params["x"] - 0.5 for _ in range(1000)])
    assert np.median(steps) == pytest.approx(0.4, rel=0.15)  # the scale's, of a range of 20
    assert 35 < (steps > 4).sum() < 95  # 6 % of them are beyond ten scales


def test_without_its_condition_the_operator_breaks_the_second_test_as_the_page_says() -> None:
    write, check = read_blocks()[:2]
    assert "            if noise != 0:\n" in write
    names: dict[str, Any] = {}
    exec(write.replace("if noise != 0:", "if True:"), names)
    with pytest.raises(AssertionError):
        exec(check, names)


def test_founders_from_another_study_have_its_best_params(page: dict[str, Any]) -> None:
    study, tuned = page["study"], page["tuned"]
    values = sorted((trial.value for trial in study.trials), reverse=True)
    assert [trial.value for trial in page["best"]] == values[:4]
    best = [trial.params for trial in page["best"]]
    distinct = [params for i, params in enumerate(best) if params not in best[:i]]
    assert len(distinct) > 1
    founders = tuned.trials[:8]
    assert [trial.params for trial in founders[: len(distinct)]] == distinct
    assert all(t.system_attrs["epbt:lineage"]["parent"] is None for t in founders)
    assert len(tuned.trials) == page["sampler"].n_trials(5)


def test_founders_that_were_added_hand_on_their_weights(page: dict[str, Any]) -> None:
    further, store = page["further"], page["checkpoints"]
    assert {trial.state for trial in further.trials} == {TrialState.COMPLETE}
    assert len(further.trials) == page["sampler"].n_trials(5)
    children = [
        (trial, further.trials[trial.system_attrs["epbt:lineage"]["parent"]])
        for trial in further.trials[8:]
        if trial.system_attrs["epbt:lineage"]["parent"] in range(4)
    ]
    assert children
    for child, parent in children:
        inherited, lr = store.load(parent), child.params["lr"]
        assert store.load(child) == [w + lr * (1 - w) for w in inherited]
        assert len(inherited) == child.params["width"] == parent.params["width"]
