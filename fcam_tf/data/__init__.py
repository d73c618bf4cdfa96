"""Data sets: the WSOL benchmark's layout, class folders, generated shapes; tf.data pipelines.

The pipelines need TensorFlow, which is imported when one is first used.
"""

from typing import TYPE_CHECKING

from fcam_tf.data.check import Report, check_dataset
from fcam_tf.data.folder import load_folder
from fcam_tf.data.load import load
from fcam_tf.data.shapes import draw_shapes, write_shapes
from fcam_tf.data.split import DataError, Problem, Split
from fcam_tf.data.tfds import write_tfds
from fcam_tf.data.wsol import load_wsol
from fcam_tf.lazy import lazily

if TYPE_CHECKING:
    from fcam_tf.data.pipeline import evaluation_dataset, training_dataset

__all__ = [
    "DataError",
    "Problem",
    "Report",
    "Split",
    "check_dataset",
    "draw_shapes",
    "evaluation_dataset",
    "load",
    "load_folder",
    "load_wsol",
    "training_dataset",
    "write_shapes",
    "write_tfds",
]

__getattr__ = lazily(__name__, {"pipeline": ["evaluation_dataset", "training_dataset"]})
