"""The page "Your framework": its blocks run, in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"


@pytest.mark.filterwarnings("ignore")  # what frameworks have to say about so small trainings
def test_the_blocks_of_the_page_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    for file in ("best.ckpt", "best.ubj", "best.keras", "best.joblib", "best/config.json"):
        assert Path(file).is_file()
