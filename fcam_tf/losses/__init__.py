"""Losses: pure functions that return one value per image, and the objective built from them."""

from fcam_tf.losses.crf import crf_loss as crf_loss
from fcam_tf.losses.objective import Batch as Batch
from fcam_tf.losses.objective import FCAMLoss as FCAMLoss
from fcam_tf.losses.seeds import SeedSampling as SeedSampling
from fcam_tf.losses.seeds import sample_seeds as sample_seeds
from fcam_tf.losses.terms import SparseSigmoidCrossentropy as SparseSigmoidCrossentropy
from fcam_tf.losses.terms import cross_entropy as cross_entropy
from fcam_tf.losses.terms import entropy as entropy
from fcam_tf.losses.terms import extended_log_barrier as extended_log_barrier
from fcam_tf.losses.terms import partial_cross_entropy as partial_cross_entropy
from fcam_tf.losses.terms import size_constraint as size_constraint
from fcam_tf.masks import IGNORED as IGNORED
