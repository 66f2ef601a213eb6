"""The `epbt` command: look at a study from a terminal, take its schedule along, tidy up after it.

Here is what can be typed; what it does is in the modules beside, one for each command, which are
imported when it runs: `epbt --help` need not wait for Optuna. Reading commands never write to a
storage. What a user got wrong is one sentence on standard error, and exit code 1 (2: the command
line itself).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from epbt_optuna._internal.text import printable

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["main"]

_F = TypeVar("_F", bound=Callable[..., Any])
_PICTURES = ("lineage", "generations", "schedule", "losses", "all")


class _Sentences(click.Group):
    """A group whose commands end in a sentence, not in a traceback, where input was bad."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from epbt_optuna.cli._errors import sentence

            if (message := sentence(error)) is None:
                raise
            raise click.ClickException(printable(message)) from error


def _examples(*lines: str) -> str:
    """Return the end of a help text; the first character keeps click from wrapping it."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _study_arguments(command: _F) -> _F:
    study = click.argument("study_name", metavar="[STUDY]", required=False)
    return click.argument("storage")(study(command))


def _trial_option(command: _F) -> _F:
    return click.option(
        "--trial",
        type=click.IntRange(min=0),
        metavar="N",
        help="A trial's number.  [default: best]",
    )(command)


def _open(storage: str, study_name: str | None = None) -> Study:
    from epbt_optuna.cli._storage import open_study

    return open_study(storage, study_name)


def _say(text: str) -> None:
    click.echo(printable(text))


def _check_folder(_context: click.Context, parameter: click.Parameter, out: Path) -> Path:
    if not out.parent.is_dir():
        raise click.BadParameter(f"There is no folder {out.parent}.", param=parameter)
    return out


def _out_option(what: str) -> Callable[[_F], _F]:
    file = click.Path(path_type=Path, dir_okay=False)
    return click.option("--out", type=file, callback=_check_folder, required=True, help=what)


@click.group(
    cls=_Sentences,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "epbt summary sqlite:///epbt.db",
        "epbt lineage study.log my-study --all | less -R",
        "epbt plot lineage sqlite:///epbt.db --out lineage.html",
        "epbt export-schedule sqlite:///epbt.db --out schedule.json",
    ),
)
@click.version_option(package_name="epbt-optuna", prog_name="epbt")
def main() -> None:
    """Look at what a population left behind in an Optuna study.

    STORAGE is where the study is: an SQLAlchemy URL (sqlite:///epbt.db, postgresql://host/name),
    a journal's file (study.log), or Optuna's gRPC proxy (grpc://host:13000). STUDY is its name; it
    may be left out where there is only one.
    """


@main.command(
    epilog=_examples(
        "epbt summary sqlite:///epbt.db", "epbt summary postgresql://me@host/optuna my-study"
    )
)
@_study_arguments
def summary(storage: str, study_name: str | None) -> None:
    """Show a study in brief, and a row for each generation.

    Fitness and diversity are those of the population alive after the generation, elites included;
    trials and reports are the generation's own.
    """
    from epbt_optuna.cli._summary import print_summary

    print_summary(_open(storage, study_name))


@main.command(
    epilog=_examples(
        "epbt lineage sqlite:///epbt.db",
        "epbt lineage sqlite:///epbt.db --trial 317",
        "epbt lineage sqlite:///epbt.db --all | less -R",
    )
)
@_study_arguments
@_trial_option
@click.option("--all", "everything", is_flag=True, help="Show every trial, as a forest.")
def lineage(storage: str, study_name: str | None, trial: int | None, everything: bool) -> None:
    """Show who inherited weights from whom.

    By default the ancestry of the best trial: each line is a trial that went on with the weights
    of the one above it. With --all, the others branch off from their parents.
    """
    from epbt_optuna.cli._lineage import print_ancestry, print_forest

    (print_forest if everything else print_ancestry)(_open(storage, study_name), trial)


@main.command(
    "export-schedule",
    epilog=_examples(
        "epbt export-schedule sqlite:///epbt.db --out schedule.json",
        "epbt export-schedule sqlite:///epbt.db --trial 317 --out schedule.json",
    ),
)
@_study_arguments
@_trial_option
@_out_option("The JSON file.")
def export_schedule(storage: str, study_name: str | None, trial: int | None, out: Path) -> None:
    """Write a schedule: hyperparameters to replay.

    They are those along the ancestry of a trial, as JSON for ReplaySampler and Schedule.load.
    """
    from epbt_optuna.lineage import Schedule

    schedule = Schedule.from_study(_open(storage, study_name), trial)
    schedule.save(out)
    _say(
        f"Wrote {out}: the {len(schedule)} steps, {schedule.n_epochs} reports, behind trial "
        f"{schedule.steps[-1].trial}."
    )


@main.command(
    epilog=_examples(
        "epbt plot lineage sqlite:///epbt.db --out lineage.html",
        "epbt plot schedule study.log my-study --out schedule.png",
    )
)
@click.argument("what", type=click.Choice(_PICTURES))
@_study_arguments
@_out_option("The picture: .html can be zoomed and hovered over; .png, .svg and .pdf are still.")
def plot(what: str, storage: str, study_name: str | None, out: Path) -> None:
    """Draw a study into a file.

    `lineage` is who inherited from whom, with the ancestry of the best; `generations` the fitness
    of each population, and how much its genomes differ; `schedule` the hyperparameters along the
    best ancestry; `losses` the TaylorGLO losses along it; `all` each of them, in x-lineage.png to
    x-schedule.png (and x-losses.png, if losses evolved) where OUT is x.png.
    """
    from epbt_optuna.cli._plot import check_suffix, draw

    check_suffix(out)
    for path in draw(what, _open(storage, study_name), out):
        _say(f"Wrote {path}.")


@main.command(
    epilog=_examples(
        "epbt collect sqlite:///epbt.db my-study checkpoints --dry-run",
        "epbt collect sqlite:///epbt.db checkpoints --keep lineage",
    )
)
@click.argument("storage")
@click.argument("places", metavar="[STUDY] CHECKPOINT_FOLDER", nargs=-1, required=True)
@click.option(
    "--keep",
    type=click.Choice(("population", "lineage", "all")),
    default="population",
    show_default=True,
    help="population: those who may still become parents, and the best. lineage: also their "
    "ancestors. all: every checkpoint that a trial recorded; only what crashed writers left goes.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def collect(storage: str, places: tuple[str, ...], keep: str, dry_run: bool) -> None:
    """Remove checkpoints that no trial can need.

    Safe while workers are training.
    """
    from epbt_optuna.cli._collect import collect_garbage

    *study_name, folder = places  # an argument before a required one cannot be optional in click
    if len(study_name) > 1:
        raise click.UsageError(f"STORAGE, STUDY and CHECKPOINT_FOLDER, but got {places} as well.")
    study = _open(storage, *study_name)
    _say(collect_garbage(study, Path(folder), keep, dry_run=dry_run))


@main.command(
    epilog=_examples("epbt branch sqlite:///copy.db my-study --checkpoints checkpoints"),
)
@_study_arguments
@click.option(
    "--checkpoints", type=click.Path(path_type=Path), metavar="FOLDER", help="Where it saves."
)
def branch(storage: str, study_name: str | None, checkpoints: Path | None) -> None:
    """Make a copy of a study independent of its original.

    For a copied database file, where both go on. Call it once, in the copy, before it goes on.
    """
    from epbt_optuna.cli._branch import branch_off

    click.echo(branch_off(_open(storage, study_name), checkpoints))


@main.command(
    epilog=_examples(
        "epbt running sqlite:///epbt.db",
        "epbt running sqlite:///epbt.db --resume",
        "epbt running sqlite:///epbt.db --fail --trial 17",
    )
)
@_study_arguments
@click.option(
    "--trial",
    "numbers",
    type=click.IntRange(min=0),
    metavar="N",
    multiple=True,
    help="Only this trial; may be repeated.",
)
@click.option("--fail", "action", flag_value="fail", help="Fail them: their places are lost.")
@click.option("--resume", "action", flag_value="resume", help="Queue them to be trained again.")
def running(
    storage: str, study_name: str | None, numbers: tuple[int, ...], action: str | None
) -> None:
    """Show running trials, and end abandoned ones.

    A process that is killed leaves its trials behind as running. Nothing in a study tells a dead
    process from a slow one: use --fail and --resume only where no process works on these trials
    any more. A resumed trial fails, and the next one asked has its parent and hyperparameters, and
    starts from what it last saved.
    """
    from epbt_optuna.cli._running import end_running, print_running

    study = _open(storage, study_name)
    if action is None:
        print_running(study, numbers)
    else:
        _say(end_running(study, numbers, action))


@main.command(
    epilog=_examples(
        "epbt sync sqlite:///epbt.db --tracking-uri sqlite:///mlflow.db",
        "epbt sync study.log my-study --tracking-uri http://localhost:5000 --experiment digits",
    )
)
@_study_arguments
@click.option("--tracking-uri", metavar="URI", help="MLflow's.  [default: what MLflow is set to]")
@click.option("--experiment", metavar="NAME", help="Of MLflow.  [default: the study's name]")
@click.option("--log-checkpoints", is_flag=True, help="Make checkpoints MLflow models.")
def sync(
    storage: str,
    study_name: str | None,
    tracking_uri: str | None,
    experiment: str | None,
    log_checkpoints: bool,
) -> None:
    """Bring to MLflow what is missing there of a study.

    Such as what a killed run left over. What is there stays, and nothing is there twice.
    """
    from epbt_optuna.tracking import MLflowTracker

    tracker = MLflowTracker(tracking_uri, experiment=experiment, log_checkpoints=log_checkpoints)
    study = _open(storage, study_name)
    _say(f"Study {study.study_name} is in MLflow: {tracker.sync(study)}")
