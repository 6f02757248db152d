"""Extraction of an upper-body dataset from raw videos.

For each video, `screening` reads it once, finds shots and samples two frames a second; `shots` cuts
promising stretches into pieces; `following` analyses every frame of a piece and tracks one person;
`filters` accept or reject it; `writing` crops and writes the clip. `pipeline` runs these steps for
one video, `run` for a folder of videos.
"""
