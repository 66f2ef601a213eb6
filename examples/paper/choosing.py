"""How the recommended settings were chosen: by validation images, on seeds of their own.

Those runs' lines lie in a folder beside the reported ones. A candidate is known by the settings in
its lines, not by its name: the arm that was chosen has the winner's settings now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

from examples.paper import ExperimentError
from examples.paper.arms import ARMS, RECOMMENDED
from examples.paper.configs import CONFIGS
from examples.paper.kinds import EPBTArm
from examples.paper.outcome import Point, select
from examples.paper.results import Job, Record, digest_of, read_records, results_file
from examples.paper.statistics import compare
from examples.paper.tables import table

FOLDER = "choosing"
FIRST_SEED = 100
SYMBOLS = {"sigma": "σ =", "reset_probability": "reset probability"}

Candidate: TypeAlias = str
"""The settings of an arm, its name aside, as JSON."""

Accuracies: TypeAlias = Mapping[str, Mapping[Candidate, Mapping[int, float]]]
"""Best validation accuracy in %, by config, candidate and seed."""


def choosing(results: Path) -> str:
    """Return, for each recommended setting, its candidates and how it stands among them.

    Raises:
        ExperimentError: A line is not what a job wrote, or its seed is one of the reported ones.
    """
    parts = []
    for setting in RECOMMENDED:
        if found := read_choosing(results / FOLDER, setting):
            parts += [candidates_table(found, setting), standing_of(found, setting)]
    return "\n\n".join(parts)


def read_choosing(folder: Path, setting: str) -> Accuracies:
    """Read how the candidates for a recommended setting did."""
    found: dict[str, dict[Candidate, dict[int, float]]] = {}
    for config in CONFIGS:
        path = results_file(folder, config)
        for (arm, seed), record in read_records(path).items():
            if not arm.startswith(setting):
                continue
            if record.get("digest") != digest_of(record["settings"]) or seed < FIRST_SEED:
                raise ExperimentError(
                    f"{arm}-seed{seed} in {path} must have a seed of at least {FIRST_SEED} and "
                    "settings that fit its digest."
                )
            own = found.setdefault(config, {}).setdefault(candidate_of(record), {})
            best = select([Point(*point) for point in record["curve"]]).validation
            own[seed] = 100 * (best or 0)
    return found


def candidate_of(record: Record) -> Candidate:
    defaults = {field.name: field.default for field in fields(EPBTArm) if field.metadata}
    settings = {**defaults, **record["settings"]["arm"]}
    return json.dumps({k: v for k, v in sorted(settings.items()) if k not in ("name", "batched")})


def descriptions(found: Accuracies) -> dict[Candidate, str]:
    """Describe candidates by the settings in which they differ."""
    candidates = {c: json.loads(c) for own in found.values() for c in own}
    settings = list(candidates.values())
    names = [*SYMBOLS, *(key for key in settings[0] if key not in SYMBOLS)]
    varied = [key for key in names if any(own[key] != settings[0][key] for own in settings)]

    def describe(own: dict[str, Any]) -> str:
        return ", ".join(f"{SYMBOLS.get(key, key.replace('_', ' '))} {own[key]}" for key in varied)

    said = {candidate: describe(own) or "the only one" for candidate, own in candidates.items()}
    return dict(sorted(said.items(), key=lambda item: item[1]))


def over_configs(found: Accuracies, setting: str) -> dict[Candidate, dict[int, float]]:
    """Return means by seed over the configs that a setting is for, of what ran on all of them."""
    own = [column for config, column in found.items() if CONFIGS[config].recommended == setting]
    means: dict[Candidate, dict[int, float]] = {}
    for candidate in descriptions(found) if own else ():
        columns = [column.get(candidate, {}) for column in own]
        seeds = sorted(set.intersection(*(set(column) for column in columns)))
        if seeds:
            means[candidate] = {seed: fmean(column[seed] for column in columns) for seed in seeds}
    return means


def candidates_table(found: Accuracies, setting: str) -> str:
    """Show every candidate on every config, and its mean over those that it is for."""
    means = {c: fmean(own.values()) for c, own in over_configs(found, setting).items()}
    rows = []
    for candidate, described in descriptions(found).items():
        row = [described]
        for column in found.values():
            values = column.get(candidate, {}).values()
            row.append(f"{fmean(values):.2f} (n = {len(values)})" if values else "–")
        mean = f"{means[candidate]:.2f}" if candidate in means else "–"
        best = candidate in means and means[candidate] == max(means.values())
        rows.append([*row, f"**{mean}**" if best else mean])
    of = ", ".join(f"`{config}`" for config in found if CONFIGS[config].recommended == setting)
    headings = [f"`{setting}`", *(f"`{config}`" for config in found), f"mean of {of or 'none'}"]
    return table(headings, rows)


def standing_of(found: Accuracies, setting: str) -> str:
    """Say where among the candidates the setting is that the reported runs have."""
    by_seed = over_configs(found, setting)
    job = Job(next(iter(CONFIGS.values())), setting, ARMS[setting], 0)
    used = candidate_of({"settings": job.settings})
    if used not in by_seed:
        return f"`{setting}` as it is now is none of these that ran on every config that it is for."
    said = descriptions(found)
    start = f"`{setting}` has {said[used]}"
    best = max(by_seed, key=lambda candidate: fmean(by_seed[candidate].values()))
    if best == used:
        return f"{start}: the best of {len(by_seed)} on the mean."
    start = f"{start}. The best of {len(by_seed)} on the mean, {said[best]},"
    if len(by_seed[best].keys() & by_seed[used].keys()) < 2:
        return f"{start} has too few seeds in common with it to be compared."
    ahead = compare(by_seed[best], by_seed[used])
    return f"{start} is {ahead} points ahead (n = {ahead.n})."
