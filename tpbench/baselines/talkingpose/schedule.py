"""The noise schedule: DDIM on betas rescaled to zero SNR at the last step, v-prediction.

Each step is a pure function of what it is given, so one schedule serves all clips of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tpbench.baselines.talkingpose.libraries import library

if TYPE_CHECKING:
    import torch

    from tpbench.baselines.talkingpose.sizes import ScheduleSettings


class Schedule:
    """The timesteps of one frame and the step from each to the next; eta is 0.

    Args:
        settings: of the schedule the model is run with.
        steps: how many of the 1000 timesteps are taken, 1 to 1000.
    """

    def __init__(self, settings: ScheduleSettings, *, steps: int) -> None:
        scheduler = library("diffusers").DDIMScheduler
        self._ddim = scheduler(**settings.model_dump(), set_alpha_to_one=True)
        self._ddim.set_timesteps(steps)
        self.timesteps: tuple[int, ...] = tuple(int(value) for value in self._ddim.timesteps)

    def step(self, velocity: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """Return the latents one step less noisy.

        Args:
            velocity: (B, C, h, w), what the network predicts.
            timestep: one of `timesteps`.
            latents: (B, C, h, w) at that timestep.
        """
        (earlier,) = self._ddim.step(velocity, timestep, latents, return_dict=False)[:1]
        return cast("torch.Tensor", earlier)
