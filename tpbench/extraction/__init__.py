"""From raw videos to an upper-body dataset.

The way of one video: `screening` reads it once, finds shots and samples two pictures a second;
`spans` cuts what is promising into pieces; `analysis` looks at every frame of a piece and follows
one person; `filters` judge; `crop` and `writing` make the clip. `pipeline` is this way from end to
end, `run` does it for a folder of videos.
"""
