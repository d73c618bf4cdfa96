"""What ``--model`` takes: a name, a file or a training run."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags

from fcam_tf.commands.quiet import quiet_tensorflow
from fcam_tf.identity import file_sha256, saved_file

if TYPE_CHECKING:
    import keras

HELP = "the name of a model (`fcam zoo list`) or pretrained classifier, a .keras file, or a run"
# With the SHA-256 of their weights. Here too so that a misspelt name and a rerun of what is done
# need no TensorFlow; a test holds it to the truth.
CLASSIFIERS = {
    "efficientnetlite_b0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
}


def define_import(values: flags.FlagValues) -> None:
    """Define the flag that names the code of custom layers."""
    flags.DEFINE_multi_string(
        "import",
        [],
        "`FILE.py` to run first, with the layers that a .keras file holds; may be repeated",
        flag_values=values,
    )


def import_files(values: flags.FlagValues) -> None:
    """Run the files of ``--import``, and make Keras know their public classes and functions.

    Raises:
        absl.app.UsageError: one cannot be run.
    """
    for name in values["import"].value if "import" in values else ():
        if not Path(name).is_file():
            raise app.UsageError(f"--import {name}: there is no such file")
        with quiet_tensorflow():
            import keras  # noqa: PLC0415

            module = Path(name).stem
            try:
                found = runpy.run_path(name, run_name=module)
            except Exception as error:  # a user's code may raise anything
                reason = f"{type(error).__name__}: {error}"
                raise app.UsageError(f"--import {name} failed: {reason}") from error
        known = keras.saving.get_custom_objects()
        for key, value in found.items():
            if callable(value) and getattr(value, "__module__", None) == module:
                known[key] = value


def check_model(name: str) -> None:
    """Refuse what is no model, without TensorFlow.

    Raises:
        absl.app.UsageError: it is none.
    """
    if name.endswith(".keras"):
        if not Path(name).is_file():
            raise app.UsageError(f"--model {name}: there is no such file")
    elif not named(name) and not Path(name).is_dir():
        from fcam_tf import zoo  # noqa: PLC0415
        from fcam_tf.names import lookup  # noqa: PLC0415

        if zoo.list_models(name, trained=False) == [name]:
            raise app.UsageError(f"--model {zoo.untrained(name)}")
        try:
            lookup({**zoo.folders(), **CLASSIFIERS}, name, "model")
        except ValueError as error:
            text = str(error).replace("`model`", "--model")
            raise app.UsageError(
                f"{text} Or give a model that was saved as .keras, or the folder of a training run."
            ) from None


def named(name: str) -> bool:
    """Tell whether a model is meant by its name."""
    from fcam_tf import zoo  # noqa: PLC0415

    return name in CLASSIFIERS or name in zoo.folders()


def identify(name: str) -> str:
    """Return the SHA-256 of a model: of its file, or of what its card says of it.

    Raises:
        FileNotFoundError, ValueError, OSError: there is none; the message says why.
    """
    from fcam_tf import zoo  # noqa: PLC0415

    if name in CLASSIFIERS:
        return CLASSIFIERS[name]
    return zoo.identity(name) if named(name) else file_sha256(saved_file(name))


def load_model(name: str) -> keras.Model:
    """Load a classifier or an F-CAM.

    Raises:
        FileNotFoundError, ValueError, OSError: it cannot be had; the message says why.
    """
    from fcam_tf import models, zoo  # noqa: PLC0415

    if name in CLASSIFIERS:
        return models.Classifier(name)
    return zoo.load(name) if named(name) else models.load(name)
