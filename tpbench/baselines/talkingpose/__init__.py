"""TalkingPose (dfki-av/TalkingPose), native: frame by frame, each starting from the previous one.

A reference network encodes the reference image once per clip. A denoising network of the same type
generates the frames: it attends to the reference network's features, and the encoded pose drawing
is added to its input. Frame n starts at `noise + gain * (latents of frame n-1 - noise)`, the closed
loop that keeps a long video consistent; the noise is one tensor for the whole clip.
"""
