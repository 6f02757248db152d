"""Generators: turn a reference image and driving poses into a video, behind one interface."""
