"""Numbers that others can reproduce: pure functions, one metric a file."""
