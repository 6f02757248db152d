"""Numbers that others can reproduce: pure functions under thin accumulators, one metric a file."""
