import sys
from pathlib import Path

# The oracle is a plain module that the tests and tools/bench_metrics.py share.
sys.path.insert(0, str(Path(__file__).parent))
