"""Commands that look at a study, and write nothing into it."""

from __future__ import annotations

from pathlib import Path

import click

from epbt_optuna.cli._arguments import (
    examples,
    opened,
    out_option,
    say,
    study_arguments,
    trial_option,
)

__all__ = ["export_schedule", "lineage", "plot", "summary", "watch"]

_PICTURES = ("lineage", "generations", "schedule", "losses", "all")


@click.command(
    epilog=examples(
        "epbt summary sqlite:///epbt.db", "epbt summary postgresql://me@host/optuna my-study"
    )
)
@study_arguments
def summary(storage: str, study_name: str | None) -> None:
    """Show a study in brief, and a row for each generation.

    Fitness and diversity are those of the population alive after the generation, elites included;
    trials and reports are the generation's own.
    """
    from epbt_optuna.cli._summary import print_summary

    print_summary(opened(storage, study_name))


@click.command(
    epilog=examples(
        "epbt lineage sqlite:///epbt.db",
        "epbt lineage sqlite:///epbt.db --trial 317",
        "epbt lineage sqlite:///epbt.db --params",
        "epbt lineage sqlite:///epbt.db --all | less -R",
    )
)
@study_arguments
@trial_option
@click.option("--all", "everything", is_flag=True, help="Show every trial, as a forest.")
@click.option("--params", is_flag=True, help="Show what each trained with.")
def lineage(
    storage: str, study_name: str | None, trial: int | None, everything: bool, params: bool
) -> None:
    """Show who inherited weights from whom.

    By default the ancestry of the best trial: each line is a trial that went on with the weights
    of the one above it. With --all, the others branch off from their parents. With --params, each
    has its hyperparameters beside it.
    """
    from epbt_optuna.cli._lineage import print_ancestry, print_forest

    study = opened(storage, study_name)
    (print_forest if everything else print_ancestry)(study, trial, with_params=params)


@click.command(
    epilog=examples(
        "epbt watch sqlite:///epbt.db",
        "epbt watch study.log my-study --generations 25",
        "epbt watch sqlite:///epbt.db >> progress.txt",
    )
)
@study_arguments
@click.option(
    "--generations",
    type=click.IntRange(min=1),
    metavar="N",
    help="End when so many are finished.  [default: when nothing has run for a minute]",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
def watch(storage: str, study_name: str | None, generations: int | None, interval: float) -> None:
    """Show the summary, redrawn while others run.

    Ctrl-C ends it. Without a terminal, a line is written for each generation that has changed.
    """
    from epbt_optuna.cli._watch import watch_study

    watch_study(opened(storage, study_name), generations, interval)


@click.command(
    "export-schedule",
    epilog=examples(
        "epbt export-schedule sqlite:///epbt.db --out schedule.json",
        "epbt export-schedule sqlite:///epbt.db --trial 317 --out schedule.json",
    ),
)
@study_arguments
@trial_option
@out_option("The JSON file.")
def export_schedule(storage: str, study_name: str | None, trial: int | None, out: Path) -> None:
    """Write a schedule: hyperparameters to replay.

    They are those along the ancestry of a trial, as JSON for ReplaySampler and Schedule.load.
    """
    from epbt_optuna.lineage import Schedule

    schedule = Schedule.from_study(opened(storage, study_name), trial)
    schedule.save(out)
    say(
        f"Wrote {out}: the {len(schedule)} steps, {schedule.n_epochs} reports, behind trial "
        f"{schedule.steps[-1].trial}."
    )


@click.command(
    epilog=examples(
        "epbt plot lineage sqlite:///epbt.db --out lineage.html",
        "epbt plot schedule study.log my-study --out schedule.png",
    )
)
@click.argument("what", type=click.Choice(_PICTURES))
@study_arguments
@out_option("The picture: .html can be zoomed and hovered over; .png, .svg and .pdf are still.")
@click.option(
    "--color-by",
    type=click.Choice(("fitness", "founder")),
    default="fitness",
    show_default=True,
    help="What the colours of `lineage` say.",
)
def plot(what: str, storage: str, study_name: str | None, out: Path, color_by: str) -> None:
    """Draw a study into a file.

    `lineage` is who inherited from whom, with the ancestry of the best; `generations` the fitness
    of each population, and how much its genomes differ; `schedule` the hyperparameters along the
    best ancestry; `losses` the TaylorGLO losses along it; `all` each of them, in x-lineage.png to
    x-schedule.png (and x-losses.png, if losses evolved) where OUT is x.png.
    """
    from epbt_optuna.cli._plot import check_suffix, draw

    check_suffix(out)
    for path in draw(what, opened(storage, study_name), out, color_by):
        say(f"Wrote {path}.")
