"""`python -m conformance.worker`: serve the run whose pipe ends the arguments name."""

import sys

from conformance.worker.main import main

main(sys.argv[1:])
