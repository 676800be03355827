"""Speed against peers, the machine, and the size of the problem."""
