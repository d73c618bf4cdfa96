"""Data sets: the WSOL benchmark's layout, class folders, generated shapes; tf.data pipelines.

The pipelines need TensorFlow, which is imported when one is first used.
"""

from typing import TYPE_CHECKING

from fcam_tf.data.check import Report, broken_photos, check_dataset
from fcam_tf.data.folder import load_folder
from fcam_tf.data.load import folder_notes, load
from fcam_tf.data.shapes import draw_shapes, write_shapes
from fcam_tf.data.split import BrokenPhotoError, DataError, Problem, Split
from fcam_tf.data.tfds import write_tfds
from fcam_tf.data.wsol import load_wsol
from fcam_tf.lazy import lazily

if TYPE_CHECKING:
    from fcam_tf.data.pipeline import evaluation_dataset, naming_photos, training_dataset

__all__ = [
    "BrokenPhotoError",
    "DataError",
    "Problem",
    "Report",
    "Split",
    "broken_photos",
    "check_dataset",
    "draw_shapes",
    "evaluation_dataset",
    "folder_notes",
    "load",
    "load_folder",
    "load_wsol",
    "naming_photos",
    "training_dataset",
    "write_shapes",
    "write_tfds",
]

__getattr__ = lazily(
    __name__, {"pipeline": ["evaluation_dataset", "naming_photos", "training_dataset"]}
)
