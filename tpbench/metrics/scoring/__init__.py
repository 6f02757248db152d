"""Scoring of pairs of real and generated clips, in one pass over the frames."""
