"""Optuna's own public test suites for samplers, with populations that breed and that do not."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from epbt_optuna import EPBTSampler, PBTSampler


@pytest.mark.parametrize("population_size", [2, 40])
class TestEPBTSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self, population_size: int) -> Callable[[], BaseSampler]:
        return lambda: EPBTSampler(population_size, seed=0)


@pytest.mark.parametrize("population_size", [2, 40])
class TestPBTSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self, population_size: int) -> Callable[[], BaseSampler]:
        return lambda: PBTSampler(population_size, seed=0)


@pytest.mark.parametrize("sampler_class", [EPBTSampler, PBTSampler])
def test_a_study_with_two_objectives_is_refused_at_ask(
    sampler_class: type[EPBTSampler] | type[PBTSampler],
) -> None:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler_class())
    with pytest.raises(ValueError, match="one objective but this one has 2 directions"):
        study.ask()
