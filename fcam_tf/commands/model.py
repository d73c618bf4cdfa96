"""What ``--model`` takes: a name, a file or a training run."""

from __future__ import annotations

import dataclasses
import os
import runpy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app

import fcam_tf
from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.commands.telling import reason_of
from fcam_tf.names import PRETRAINED, error_text, shortened, unknown

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that is there, not yet loaded; or a backbone to train.

    Attributes:
        sha256: of its file, or of what its card says of it.
        load: loads it; raises OSError or ValueError where it cannot be had.
    """

    sha256: str
    load: Callable[[], keras.Model]


def find_model(name: str) -> Model:
    """Return the model that a name, file or folder means, without TensorFlow.

    Raises:
        absl.app.UsageError: there is none, or none that has been trained.
    """

    def load() -> keras.Model:
        if name in PRETRAINED:
            return fcam_tf.models.Classifier(name)
        return fcam_tf.zoo.load(name)

    entries = fcam_tf.zoo.folders()
    if name in PRETRAINED:
        return Model(PRETRAINED[name], load)
    try:
        if name in entries:
            return Model(fcam_tf.zoo.identity(name), load)
        if is_saved(name):
            return _saved(name)
    except (OSError, ValueError) as error:
        raise app.UsageError(f"`model` {reason_of(error)}") from None
    if name in fcam_tf.zoo.list_models(trained=False):
        raise app.UsageError(f"`model` {fcam_tf.zoo.untrained(name)}")
    there = os.path.exists(name)  # noqa: PTH110 - it may be too long
    if there:
        raise app.UsageError(
            f"`model` {name}: a model's name ends with .keras, and this one does not"
        )
    if os.sep in name:
        raise app.UsageError(f"`model` {shortened(name)}: there is no such file or folder")
    text = unknown([*entries, *PRETRAINED], name, "model")
    raise app.UsageError(f"{text} Or give a .keras file, or a run's folder.")


def _saved(name: str) -> Model:
    from fcam_tf.identity import saved_sha256  # noqa: PLC0415

    def load() -> keras.Model:
        model = fcam_tf.models.load(name)
        # Results are kept by the hash, and a training that goes on replaces its best model.
        if saved_sha256(name) != sha256:
            raise ValueError(f"`model` {name} was replaced meanwhile; give the same command again")
        return model

    sha256 = saved_sha256(name)
    return Model(sha256, load)


def load_named(name: str, sha256: str, imports: Sequence[str] = ()) -> keras.Model:
    """Load the model that `find_model` found on another machine.

    Args:
        name: its name, file or folder, the same on both.
        sha256: of that model.
        imports: files of ``--import``.

    Raises:
        absl.app.UsageError: it is not here.
        ValueError: what is here is another model.
    """
    import_files(imports)
    found = find_model(name)
    if found.sha256 != sha256:
        raise ValueError(f"`model` {name} is another model on this worker; give all the same file")
    return found.load()


def is_saved(name: str) -> bool:
    """Return whether a name means a .keras file or a run's folder."""
    return name.endswith(".keras") or os.path.isdir(name)  # noqa: PTH112 - it may be too long


def complete_model(prefix: str, **_: Any) -> list[str]:
    """Return names for the shell to complete."""
    return [name for name in (*fcam_tf.zoo.list_models(), *PRETRAINED) if name.startswith(prefix)]


def import_files(names: Iterable[str]) -> None:
    """Run the files of ``--import``, and make Keras know what they define, and classes they import.

    Results that were made with other code are not gone on with.

    Raises:
        absl.app.UsageError: one cannot be run.
    """
    from fcam_tf.identity import file_sha256, imported  # noqa: PLC0415 - help does without

    imported.clear()
    for name in names:
        if not os.path.isfile(name):  # noqa: PTH113 - it may be too long
            there = os.path.exists(name)  # noqa: PTH110
            why = "this is a folder, and a file is needed" if there else "there is no such file"
            raise app.UsageError(f"--import {shortened(name)}: {why}")
        imported.append(file_sha256(name))
        with quiet_tensorflow():
            import keras  # noqa: PLC0415

            module = Path(name).stem
            try:
                found = runpy.run_path(name, run_name=module)
            except Exception as error:  # a user's code may raise anything
                reason = f"{type(error).__name__}: {error_text(error)}"
                raise app.UsageError(f"--import {name} failed: {reason}") from error
        known = keras.saving.get_custom_objects()
        for key, value in found.items():
            origin = getattr(value, "__module__", None) or ""
            brought = isinstance(value, type) and origin.split(".")[0] not in ("keras", "builtins")
            if callable(value) and (origin == module or brought):
                known[key] = value
