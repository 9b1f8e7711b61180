"""The keeper's entry: `python -m loyalty.core.embedded <home> <descriptor of the held keeper lock>`."""

import sys
from pathlib import Path

from loyalty.core.embedded import keeper

if __name__ == "__main__":
    keeper.main(Path(sys.argv[1]), lock_descriptor=int(sys.argv[2]))
