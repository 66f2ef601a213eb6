"""A warning that a study is given once, whichever of its workers finds the reason first."""

from __future__ import annotations

import logging

from optuna import Study

from epbt_optuna._internal.attrs import WARNED
from epbt_optuna._internal.optuna import read_study_attrs

__all__ = ["warn_once"]


def warn_once(logger: logging.Logger, study: Study, what: str, message: str) -> None:
    """Warn unless some process has; two that find out at one moment may both.

    Args:
        logger: Where the warning goes.
        study: The study, which notes that it was given.
        what: The warning's name in the study.
        message: The warning, without its last full stop.
    """
    if WARNED.key + what in read_study_attrs(study):
        return
    WARNED.write_to_study(study, True, suffix=what)
    logger.warning("%s. (This is said once in a study.)", message)
