"""Keras 3: a function that gives a model its parent's weights and moments."""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from typing import TYPE_CHECKING

from epbt_optuna._internal.extras import needs
from epbt_optuna.checkpoints import CheckpointError

with needs("h5py", "`restore_model`", "keras"):
    import h5py

if TYPE_CHECKING:
    import keras

__all__ = ["restore_model"]


def restore_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Load weights and the optimizer's moments and step; hyperparameters stay the model's own.

    `keras.models.load_model` brings back the parent's optimizer as a whole, and `load_weights` its
    learning rate, or nothing of an optimizer that has not been built. Here a learning rate of this
    trial stays, and a schedule of this trial stands where it would at the parent's step.

    Args:
        model: The model, built and compiled with this trial's hyperparameters.
        path: A file that the parent wrote by `model.save("….keras")` or
            `model.save_weights("….weights.h5")`. It is read as data: no code of its runs.

    Raises:
        ValueError: The model is not compiled or not built.
        CheckpointError: The file is none of Keras 3, or of another model or optimizer.
    """
    if not model.built or getattr(model, "optimizer", None) is None:
        raise ValueError(
            "`model` must be built (begin it with `keras.Input`) and compiled before it is "
            "restored."
        )
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)  # else Keras leaves its variables out
    rates = [(rate, float(rate)) for rate in optimizer.variables if rate.name == "learning_rate"]
    try:
        own, parents = _names_of_optimizers(optimizer, path)
        if parents not in (None, own):  # some have as many variables, which mean something else
            raise ValueError(f"its optimizer is {parents}, and the model's is {own}.")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Skipping variable loading")
            model.load_weights(path)
    except Exception as error:
        raise CheckpointError(
            f"`path` must be a file of Keras 3, with the weights of this model and the variables "
            f"of this optimizer, but {os.fspath(path)} cannot be restored: {error}"
        ) from error
    for rate, value in rates:
        rate.assign(value)


def _names_of_optimizers(
    optimizer: keras.Optimizer, path: str | os.PathLike[str]
) -> tuple[str, str | None]:
    """Return what the model's optimizer is called and what the file's is, None where it is silent.

    A file with the whole model knows its class. One with weights has the optimizer's own name, to
    which Keras adds a number.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json")).get("compile_config") or {}
        return type(optimizer).__name__, config.get("optimizer", {}).get("class_name")
    if not h5py.is_hdf5(path):
        return type(optimizer).__name__, None
    with h5py.File(path) as file:
        if (variables := file.get("optimizer/vars")) is None:  # Keras would load weights alone
            raise ValueError("it has none of an optimizer: save a `.keras` or `.weights.h5`.")
        name = variables.attrs.get("name")
    unnumbered = re.compile(r"_\d+$")
    return unnumbered.sub("", optimizer.name), name and unnumbered.sub("", name)
