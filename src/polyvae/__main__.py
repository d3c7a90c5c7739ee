"""`python -m polyvae` is the command `polyvae`."""

import sys

from polyvae.cli import main

sys.exit(main())
