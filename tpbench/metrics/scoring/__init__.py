"""Scoring: pairs of real and generated clips in, numbers out, in one pass over the frames."""
