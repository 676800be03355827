"""Time mixed structures beside the network alone, by the `end_to_end` of the build.

`mixed.py CHECKPOINT STRUCTURES ROUNDS`
"""

import sys

from benchmarks.speed import end_to_end

end_to_end.STRUCTURES = int(sys.argv[2])
end_to_end.measure_mixed(sys.argv[1], int(sys.argv[3]))
