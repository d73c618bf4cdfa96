"""The zoo: F-CAMs by name, their cards, and where their weights come from."""

import lazy_loader

from fcam_tf.zoo.cards import data_name as data_name
from fcam_tf.zoo.cards import read_card as read_card
from fcam_tf.zoo.entries import card as card
from fcam_tf.zoo.entries import folder_of as folder_of
from fcam_tf.zoo.entries import folders as folders
from fcam_tf.zoo.entries import identity as identity
from fcam_tf.zoo.entries import list_models as list_models
from fcam_tf.zoo.entries import untrained as untrained

# These import TensorFlow, or what only fetching needs.
__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "registry": ["load", "save", "verify"],
        "pack": ["verify_scores"],
        "download": ["WeightsDamagedError"],
    },
)
