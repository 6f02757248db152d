"""Generators: what turns a reference picture and driving poses into a video, behind one seam."""
