from __future__ import annotations

import torch

from tpbench.baselines.talkingpose.pipeline import Schedule
from tpbench.baselines.talkingpose.settings import ScheduleSettings


def test_timesteps_of_30_steps_are_the_released_ones() -> None:
    timesteps = Schedule(ScheduleSettings(), steps=30).timesteps

    assert timesteps[:4] == (999, 966, 932, 899)
    assert timesteps[-2:] == (66, 32)
    assert len(timesteps) == 30


def test_the_first_step_starts_at_pure_noise() -> None:
    schedule = Schedule(ScheduleSettings(), steps=30)
    velocity = torch.randn(1, 4, 8, 8)

    # At zero SNR the clean latents are minus the velocity, whatever the noise.
    steps = [schedule.step(velocity, 999, noise * torch.ones(1, 4, 8, 8)) for noise in (0.0, 1.0)]
    shared = steps[1] - steps[0]

    assert torch.allclose(shared, shared[0, 0, 0, 0].expand_as(shared), atol=1e-6)


def test_the_last_step_ends_at_the_clean_latents() -> None:
    schedule = Schedule(ScheduleSettings(), steps=1)
    velocity, noise = torch.randn(2, 1, 4, 8, 8)

    assert schedule.timesteps == (999,)
    torch.testing.assert_close(schedule.step(velocity, 999, noise), -velocity)


def test_a_step_keeps_no_state() -> None:
    schedule = Schedule(ScheduleSettings(), steps=4)
    velocity, latents, other = torch.randn(3, 1, 4, 8, 8)

    first = schedule.step(velocity, 749, latents)
    schedule.step(other, 999, other)

    assert torch.equal(schedule.step(velocity, 749, latents), first)
