"""`python -m robofume_bringup` is the `robofume` command."""

import sys

from robofume_bringup.cli import main

sys.exit(main())
