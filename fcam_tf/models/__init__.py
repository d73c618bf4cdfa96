"""Models: backbones, the classifier and F-CAM, each of them one flat functional graph."""

from fcam_tf.identity import saved_file as saved_file
from fcam_tf.models.backbones import BACKBONES as BACKBONES
from fcam_tf.models.backbones import BackboneSpec as BackboneSpec
from fcam_tf.models.classifier import Classifier as Classifier
from fcam_tf.models.fcam import FCAM as FCAM
from fcam_tf.models.pretrained import WeightsUnavailableError as WeightsUnavailableError
from fcam_tf.models.saved import load as load

# What saved models were trained with.
from fcam_tf.optimizer import CoupledAdam as CoupledAdam
from fcam_tf.optimizer import CoupledSGD as CoupledSGD
