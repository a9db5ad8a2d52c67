"""`python -m harvester` is the program `harvester`."""

import sys

from harvester.cli import main

sys.exit(main())
