"""The paper's tables and figures, made anew by training and measuring."""

import lazy_loader

__getattr__, _, _ = lazy_loader.attach(
    __name__,
    ["convergence", "curves", "downscale", "measured", "rows", "runtime", "sheets", "sweep"],
    submod_attrs={"study": ["Study"], "trained": ["reached", "table"]},
)
