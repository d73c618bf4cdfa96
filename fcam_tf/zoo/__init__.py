"""The zoo: F-CAMs by name, their cards, and where their weights come from."""

from fcam_tf.zoo.card import read_card as read_card
from fcam_tf.zoo.fetch import WeightsDamagedError as WeightsDamagedError
from fcam_tf.zoo.registry import card as card
from fcam_tf.zoo.registry import list_models as list_models
from fcam_tf.zoo.registry import load as load
from fcam_tf.zoo.registry import save as save
from fcam_tf.zoo.verify import verify as verify
