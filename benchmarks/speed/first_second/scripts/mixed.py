"""Time mixed structures beside the network alone, by the build's `end_to_end`: `mixed.py RUN COUNT ROUNDS`."""

import sys

from benchmarks.speed import end_to_end

end_to_end.STRUCTURES = int(sys.argv[2])
end_to_end.measure_mixed(sys.argv[1], int(sys.argv[3]))
