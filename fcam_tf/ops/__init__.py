"""Operations that TensorFlow lacks: the bilateral filter, and what is built on it."""

from fcam_tf.ops.bilateral import bilateral_filter as bilateral_filter
from fcam_tf.ops.bilateral import crf_loss_and_gradient as crf_loss_and_gradient
from fcam_tf.ops.crf import dense_crf as dense_crf
from fcam_tf.ops.dense import dense_bilateral_filter as dense_bilateral_filter
from fcam_tf.ops.loader import backend as backend
