"""``python -m fcam_tf`` is ``fcam``."""

import sys

from fcam_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
