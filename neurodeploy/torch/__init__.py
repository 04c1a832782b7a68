"""Training for a chip: what needs torch (the extra `snntorch`)."""
