"""`python -m multigrain`: the same as the command `multigrain`."""

import sys

from multigrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
