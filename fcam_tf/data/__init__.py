"""Data sets: the WSOL benchmark's layout, class folders, generated shapes; tf.data pipelines.

The pipelines need TensorFlow, which is imported when one is first used.
"""

import lazy_loader

from fcam_tf.data.check import Report as Report
from fcam_tf.data.check import broken_photos as broken_photos
from fcam_tf.data.check import check_dataset as check_dataset
from fcam_tf.data.check import left_out as left_out
from fcam_tf.data.check import single_class as single_class
from fcam_tf.data.check import without_broken as without_broken
from fcam_tf.data.folder import load_folder as load_folder
from fcam_tf.data.load import absolute as absolute
from fcam_tf.data.load import folder_notes as folder_notes
from fcam_tf.data.load import load as load
from fcam_tf.data.load import reduced_sha256 as reduced_sha256
from fcam_tf.data.shapes import draw_shapes as draw_shapes
from fcam_tf.data.shapes import write_shapes as write_shapes
from fcam_tf.data.split import BrokenPhotoError as BrokenPhotoError
from fcam_tf.data.split import DataError as DataError
from fcam_tf.data.split import Problem as Problem
from fcam_tf.data.split import Split as Split
from fcam_tf.data.tfds import write_tfds as write_tfds
from fcam_tf.data.wsol import load_wsol as load_wsol
from fcam_tf.data.wsol import reduced as reduced

__getattr__, _, _ = lazy_loader.attach(
    __name__, submod_attrs={"pipeline": ["evaluation_dataset", "naming_photos", "training_dataset"]}
)
