"""A job of Beam without a model, as a program: python -m tests.scale.fake OUT OPTION... -- PHOTO...

It prints its process, and each worker prints its own to the file WORKERS, if that is set.
"""

import dataclasses
import os
import runpy
import sys
from pathlib import Path

from fcam_tf.predict import LocalizeSettings
from fcam_tf.scale import inputs, pipeline, store

_FAKE = Path(__file__).parents[1] / "predict" / "fake.py"


@dataclasses.dataclass(frozen=True)
class FakeSettings(LocalizeSettings):
    """Settings whose localizer needs no model."""

    def localizer(self, _):
        seconds = float(os.environ.get("SECONDS_A_BATCH", "0"))
        return runpy.run_path(str(_FAKE))["FakeLocalizer"](seconds=seconds), []


def load():
    """Note which process is a worker."""
    if "WORKERS" in os.environ:
        with Path(os.environ["WORKERS"]).open("a") as file:
            file.write(f"{os.getpid()}\n")


def handler(**options):
    settings = FakeSettings("fake", "0", "brightness", "otsu")
    return pipeline.LocalizeHandler(load, settings, batch_size=2, **options)


def run(out, options, photos, shard_size=3):
    """Localise photos, and return the places of the shards that were to do."""
    plan = inputs.plan_shards(photos, (), shard_size)
    folder = store.Store(str(out))
    with folder.claimed({"fake": True}, overwrite=False) as claim:
        places = claim.begin(plan.shards)
        if places:
            built = pipeline.build(pipeline.parse_options(options), folder, places, handler())
            pipeline.run(built)
    return places


if __name__ == "__main__":
    mark = sys.argv.index("--")
    run(sys.argv[1], sys.argv[2:mark], sys.argv[mark + 1 :])
