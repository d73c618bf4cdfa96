"""From images to labels, heat maps, masks and boxes."""

import lazy_loader

from fcam_tf.claim import FolderBusyError as FolderBusyError
from fcam_tf.claim import SettingsChangedError as SettingsChangedError
from fcam_tf.localization import NO_BOX as NO_BOX
from fcam_tf.localization import Localization as Localization
from fcam_tf.localization import Region as Region
from fcam_tf.localization import check_threshold as check_threshold
from fcam_tf.localization import scale_box as scale_box
from fcam_tf.predict.annotations import write_annotations as write_annotations
from fcam_tf.predict.files import Files as Files
from fcam_tf.predict.inputs import Failure as Failure
from fcam_tf.predict.inputs import displayed as displayed
from fcam_tf.predict.job import Job as Job
from fcam_tf.predict.job import localize_files as localize_files
from fcam_tf.predict.outputs import LocalizeSettings as LocalizeSettings
from fcam_tf.predict.outputs import is_current as is_current
from fcam_tf.predict.outputs import read_results as read_results
from fcam_tf.predict.shown import localize_shown as localize_shown

__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={"gallery": ["write_gallery"], "localizer": ["Localizer", "find_label"]},
)
