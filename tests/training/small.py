"""Trainings of seconds: their recipes."""

from fcam_tf import training
from fcam_tf.training import ClassifierRecipe, FCAMRecipe

SMALL = {"epochs": 2, "batch_size": 6, "resize": 36, "crop": 32}
CLASSIFIER = ClassifierRecipe(**SMALL, learning_rate=0.01, select="MaxBoxAccV2")
DECODER = FCAMRecipe(**SMALL, learning_rate=0.05, select="PxAP", loss={"erosion": 3})
ONE_STEP = {"epochs": 1, "batch_size": 12}


def fit_fcam(model, splits, out, recipe=DECODER, **options):
    return training.fit_fcam(model, *splits, recipe, out, verbose=0, **options)
