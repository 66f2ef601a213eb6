"""The claims that were set as aims before anything was run, each judged by its intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from examples.paper.plan import N_SEEDS, NOISES, SIX
from examples.paper.rivals import (
    LETTER,
    NAMED,
    ROBUST_LOSSES,
    ByConfig,
    Strongest,
    beside_recommended,
    cell,
)

N_AHEAD_OF_THE_LETTER, N_NOISES_AHEAD = 4, 2
NOT_YET = "cannot be said before the missing ones have run"


def claims(configs: ByConfig) -> str:
    """Return all of them."""
    return "\n".join((over_the_letter(configs), lost_to_none(configs), on_each_noise(configs)))


def over_the_letter(configs: ByConfig) -> str:
    """Judge whether the recommended settings are better than the paper's letter."""
    found = {config: beside_recommended(configs, config, (LETTER,)) for config in SIX}
    n = Counter(rival.comparison.verdict for rival in found.values() if rival)
    n_missing = sum(rival is None for rival in found.values())
    if n["loses"] or n["wins"] + n_missing < N_AHEAD_OF_THE_LETTER:
        judged = "missed"
    else:
        judged = "reached" if not n_missing else NOT_YET
    head = (
        f"- **Over the paper's letter** (`{LETTER}`): ahead beyond the interval on {n['wins']}, "
        f"behind on {n['loses']} of {len(SIX) - n_missing} configs. Aim: ahead on at least "
        f"{N_AHEAD_OF_THE_LETTER} of {len(SIX)} and behind on none: {judged}."
    )
    return "\n".join((head, *(line(config, rival) for config, rival in found.items())))


def line(config: str, rival: Strongest | None) -> str:
    said = f"{cell(rival.comparison)}" if rival else "not run"
    return f"    - `{config}`: {said}"


def lost_to_none(configs: ByConfig) -> str:
    """Judge whether any of the rivals that everybody names is better than them."""
    found = {
        (config, other): beside_recommended(configs, config, (other,))
        for config in SIX
        for other in NAMED
    }
    known = {pair: rival for pair, rival in found.items() if rival}
    n = Counter(rival.comparison.verdict for rival in known.values())
    lost = [
        f"    - `{config}`, `{other}`: {cell(rival.comparison)}"
        for (config, other), rival in known.items()
        if rival.comparison.verdict == "loses"
    ]
    judged = "missed" if lost else "reached" if len(known) == len(found) else NOT_YET
    names = ", ".join(f"`{name}`" for name in NAMED)
    n_few = sum(rival.comparison.n < N_SEEDS for rival in known.values())
    few = f" ({n_few} of them over fewer than {N_SEEDS} seeds)" if n_few else ""
    head = (
        f"- **Against {names}**: of {len(known)} comparisons on {len(SIX)} configs{few}, "
        f"{n['wins']} won, {n['ties']} tied and {n['loses']} lost beyond the interval. Aim: none "
        f"lost: {judged}."
    )
    return "\n".join((head, *lost))


def on_each_noise(configs: ByConfig) -> str:
    """Judge on how many kinds of wrong labels they are ahead of the strongest robust loss."""
    found = {
        config: beside_recommended(configs, config, ROBUST_LOSSES)
        for own in NOISES.values()
        for config in own
    }
    kinds = {kind: standing([found[config] for config in own]) for kind, own in NOISES.items()}
    n = Counter(kinds.values())
    if n["ahead"] >= N_NOISES_AHEAD:
        judged = "reached"
    else:
        judged = "missed" if n["ahead"] + n["not all run"] < N_NOISES_AHEAD else NOT_YET
    head = (
        f"- **Against the strongest of {len(ROBUST_LOSSES)} losses for wrong labels**, chosen on "
        f"the test data: ahead on the mean of every data set with {n['ahead']} of {len(NOISES)} "
        f"kinds of noise. Aim: with {N_NOISES_AHEAD}: {judged}."
    )
    return "\n".join((head, *(of_kind(kind, kinds[kind], found) for kind in NOISES)))


def standing(rivals: list[Strongest | None]) -> str:
    if not all(rival and rival.n_run == rival.n_rivals for rival in rivals):
        return "not all run"
    ahead = all(rival.comparison.difference > 0 for rival in rivals if rival)
    return "ahead" if ahead else "not ahead"


def of_kind(kind: str, standing: str, found: Mapping[str, Strongest | None]) -> str:
    said = [
        f"`{config}` {cell(rival.comparison)} ({rival.name})" if rival else f"`{config}` not run"
        for config, rival in ((name, found[name]) for name in NOISES[kind])
    ]
    return f"    - {kind}, {standing}: {'; '.join(said)}"
