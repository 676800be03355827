"""Speed beside other programs, beside the machine's own rates, and against the size of the problem."""
