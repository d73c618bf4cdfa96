"""Names of other libraries, for code that was written for them."""

from fcam_tf.compat import densecrf as densecrf
from fcam_tf.compat import utils as utils
