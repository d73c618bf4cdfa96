"""Losses: pure functions that give one value for each image, and thin Keras classes."""

from fcam_tf.losses.crf import CRFLoss as CRFLoss
from fcam_tf.losses.crf import crf_loss as crf_loss
