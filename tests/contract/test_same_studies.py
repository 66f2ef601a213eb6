"""The same seed gives the same study, also from one version of the package to the next."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.same_studies import RECORDED, STUDIES, as_recorded


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[dict[str, Any]]]:
    return json.loads(RECORDED.read_text())  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore::UserWarning")  # infeasible founders, reported values
@pytest.mark.parametrize("name", STUDIES)
def test_a_seed_gives_the_study_that_it_gave_in_earlier_versions(
    name: str, recorded: dict[str, list[dict[str, Any]]]
) -> None:
    trials = as_recorded(STUDIES[name]())
    assert len(trials) == len(recorded[name])
    for number, (now, then) in enumerate(zip(trials, recorded[name], strict=True)):
        assert _rounded(now) == _rounded(then), f"trial {number}"


def _rounded(value: Any) -> Any:
    """Leave out of numbers what another platform's `exp` and `log` may round differently."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value
