"""Models: backbones and the classifier, each one flat functional graph."""

from fcam_tf.models.backbones import BACKBONES as BACKBONES
from fcam_tf.models.backbones import BackboneSpec as BackboneSpec
from fcam_tf.models.classifier import Classifier as Classifier
from fcam_tf.models.graph import flatten as flatten
from fcam_tf.models.weights import WeightsUnavailableError as WeightsUnavailableError
