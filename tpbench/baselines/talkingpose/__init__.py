"""TalkingPose (dfki-av/TalkingPose), native: one frame at a time, each begun from the one before.

A reference network reads the person's picture once for each clip. A denoising network of the same
build makes the frames: it attends to what the reference network saw, and the drawn pose is added to
its input. Frame n starts at `noise + gain * (latents of frame n-1 - noise)`, the closed loop that
holds a long video together; the noise is one tensor for the whole clip.
"""
