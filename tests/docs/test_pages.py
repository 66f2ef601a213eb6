"""README and documentation: their programs run as they are printed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import optuna
import pytest

from tests.docs.pages import PAGES, ROOT, n_unseen, run

README = ROOT / "README.md"

pytestmark = pytest.mark.xdist_group("docs")  # all need the study that one of them trains


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of README's program after a Ctrl-C in trial 15 and another start."""
    report = optuna.Trial.report

    def interrupted(trial: optuna.Trial, value: float, step: int) -> None:
        report(trial, value, step)
        if trial.number == 15:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("readme")
        patch.chdir(folder)
        with pytest.MonkeyPatch.context() as hand:
            hand.setattr(optuna.Trial, "report", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(README)
        run(README)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, as the working directory."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_program_in_the_readme_resumes_and_then_loads_its_winner(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = run(README)["study"]  # the third time: nothing is left to do
    assert len(study.trials) == study.sampler.n_trials(10)
    assert [trial.number for trial in study.trials if trial.value is None] == [15]
    said = capsys.readouterr().out
    found = re.fullmatch(r"Trial (\d+): (0\.\d+), loaded: (0\.\d+)\n", said)
    assert found is not None, said
    assert int(found[1]) == study.best_trial.number
    assert found[2] == found[3] == f"{study.best_value:.4f}"


@pytest.mark.filterwarnings("ignore")  # what frameworks have to say about so small trainings
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", [page for page in PAGES if page != README], ids=lambda p: p.stem)
def test_the_blocks_of_a_page_run_in_order(page: Path) -> None:
    run(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_block_is_passed_over(page: Path) -> None:
    assert n_unseen(page) == 0
