"""Training classifiers and F-CAMs by recipes."""

import lazy_loader

from fcam_tf.claim import FolderBusyError as FolderBusyError
from fcam_tf.claim import SettingsChangedError as SettingsChangedError
from fcam_tf.training.fsl import divide as divide
from fcam_tf.training.run_folder import RunFolder as RunFolder
from fcam_tf.training.run_folder import open_run as open_run
from fcam_tf.training.run_folder import recall_run as recall_run

__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "callbacks": ["KeepBest", "StopOnNaN", "TrainingDivergedError"],
        "recipe": [
            "CLASSIFIER_PRESETS",
            "FCAM_PRESETS",
            "ClassifierRecipe",
            "FCAMRecipe",
            "Recipe",
            "get",
        ],
        "random_search": ["Trial", "parse_space", "recall_search", "search"],
        "cam_store": ["stored_cams"],
        "reporting": ["evaluated", "report"],
        "stages": [
            "Start",
            "check",
            "load_split",
            "load_splits",
            "recipe_of",
            "teacher_of",
            "train",
        ],
        "loop": ["knows_classes"],
        "setting_error": ["SettingError", "told_by_stage"],
        "trainer": ["CoupledAdam", "CoupledSGD", "fit_classifier", "fit_fcam"],
        "validation": ["Validation"],
        "workers": ["WorkerLostError", "together"],
    },
)
