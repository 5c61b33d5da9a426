"""`python -m labctl.workload`: see `worker`."""

import sys

import uvloop

from labctl.workload.worker import main

sys.exit(uvloop.run(main()))
