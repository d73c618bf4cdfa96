"""Losses: pure functions that give one value for each image, and thin Keras classes."""

from fcam_tf.losses.crf import CRFLoss as CRFLoss
from fcam_tf.losses.crf import crf_loss as crf_loss
from fcam_tf.losses.entropy import Entropy as Entropy
from fcam_tf.losses.entropy import entropy as entropy
from fcam_tf.losses.objective import FCAMLoss as FCAMLoss
from fcam_tf.losses.partial_cross_entropy import PartialCrossEntropy as PartialCrossEntropy
from fcam_tf.losses.partial_cross_entropy import partial_cross_entropy as partial_cross_entropy
from fcam_tf.losses.seeds import IGNORE as IGNORE
from fcam_tf.losses.seeds import sample_seeds as sample_seeds
from fcam_tf.losses.size_constraint import SizeConstraint as SizeConstraint
from fcam_tf.losses.size_constraint import extended_log_barrier as extended_log_barrier
from fcam_tf.losses.size_constraint import size_constraint as size_constraint
