"""Faces, hands and whole-body skeletons: one file per backend."""
