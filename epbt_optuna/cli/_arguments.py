"""What the commands have in common: arguments, options, and how a study is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from epbt_optuna._internal.text import printable

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["examples", "opened", "out_option", "say", "study_arguments", "trial_option"]

_F = TypeVar("_F", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """Return the end of a help text; the first character keeps click from wrapping it."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def study_arguments(command: _F) -> _F:
    study = click.argument("study_name", metavar="[STUDY]", required=False)
    return click.argument("storage")(study(command))


def trial_option(command: _F) -> _F:
    return click.option(
        "--trial",
        type=click.IntRange(min=0),
        metavar="N",
        help="A trial's number.  [default: best]",
    )(command)


def opened(storage: str, study_name: str | None = None) -> Study:
    from epbt_optuna.cli._storage import open_study

    return open_study(storage, study_name)


def say(text: str) -> None:
    click.echo(printable(text))


def _check_folder(_context: click.Context, parameter: click.Parameter, out: Path) -> Path:
    if not out.parent.is_dir():
        raise click.BadParameter(f"There is no folder {out.parent}.", param=parameter)
    return out


def out_option(what: str) -> Callable[[_F], _F]:
    file = click.Path(path_type=Path, dir_okay=False)
    return click.option("--out", type=file, callback=_check_folder, required=True, help=what)
