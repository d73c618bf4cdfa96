"""Evaluating localisation: maps against boxes and masks, resumable, one row for each image."""

import lazy_loader

from fcam_tf.claim import FolderBusyError as FolderBusyError
from fcam_tf.claim import SettingsChangedError as SettingsChangedError
from fcam_tf.evaluation.evaluation import Evaluation as Evaluation
from fcam_tf.evaluation.measured import EXPLANATION as EXPLANATION
from fcam_tf.evaluation.measured import ExplanationSettings as ExplanationSettings
from fcam_tf.evaluation.rows import Row as Row
from fcam_tf.evaluation.sources import FRAME as FRAME
from fcam_tf.evaluation.sources import Center as Center
from fcam_tf.evaluation.sources import FunctionMaps as FunctionMaps
from fcam_tf.evaluation.sources import MapSource as MapSource
from fcam_tf.evaluation.sources import ModelMaps as ModelMaps
from fcam_tf.evaluation.sources import StoredMaps as StoredMaps
from fcam_tf.evaluation.stored import HEADLINES as HEADLINES
from fcam_tf.evaluation.stored import EvaluationSettings as EvaluationSettings
from fcam_tf.evaluation.stored import StoredEvaluation as StoredEvaluation

__getattr__, _, _ = lazy_loader.attach(
    __name__, submod_attrs={"scoring": ["score_images"], "summary": ["Summary"]}
)
