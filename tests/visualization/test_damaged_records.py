"""Records of ours that anybody wrote: both backends draw the study, or name the record."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import epbt_optuna.visualization as plotly_pictures
import epbt_optuna.visualization.matplotlib as matplotlib_pictures
from tests.damage import Snapshot, at_most, damages
from tests.visualization.studies import theta_study

mpl.use("Agg")


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Snapshot.of(theta_study(12))


@pytest.mark.parametrize("name", ["lineage", "generations", "schedule", "loss_functions"])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_both_backends_draw_a_study_or_say_alike_what_is_wrong(
    name: str, snapshot: Snapshot, data: st.DataObject
) -> None:
    study = snapshot.damaged(data.draw(damages(snapshot)))
    said: list[Any] = []
    for backend, options in (plotly_pictures, {}), (matplotlib_pictures, {"figure": Figure()}):
        with at_most(20):
            try:
                getattr(backend, f"plot_{name}")(study, **options)
                said.append("drawn")
            except ValueError as error:
                said.append(str(error))
    assert said[0] == said[1]
    assert said[0] == "drawn" or said[0].endswith(".")
