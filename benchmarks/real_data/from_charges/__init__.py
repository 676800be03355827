"""What people compute from Born effective charges, beside the same from DFPT's."""
