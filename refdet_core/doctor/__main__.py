"""``python -m refdet_core.doctor``."""

import sys

from refdet_core.doctor.command import main

sys.exit(main())
