"""Meters: what is measured frame by frame while a pair of clips goes by, one kind a file."""
