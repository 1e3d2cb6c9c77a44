"""Two networks against each other: each has its own optimizer, its own watcher and its own run."""

import math

import torch
from torch import nn

import neuronwise

STEPS = 600


def real(count: int) -> torch.Tensor:
    """Return points on a circle, a little beside it."""
    angle = 2 * math.pi * torch.rand(count)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(count, 2)


torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
generator_optimizer = torch.optim.Adam(generator.parameters(), 1e-3, betas=(0.5, 0.99))
critic_optimizer = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.99))
loss_function = nn.BCEWithLogitsLoss()
ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)

with (
    neuronwise.watch(generator, generator_optimizer, name="example-gan-generator") as of_generator,
    neuronwise.watch(critic, critic_optimizer, name="example-gan-critic") as of_critic,
):
    for step in range(1, STEPS + 1):
        fake = generator(torch.randn(64, 4))
        critic_optimizer.zero_grad()
        critic_loss = loss_function(critic(real(64)), ones) + loss_function(critic(fake.detach()), zeros)
        critic_loss.backward()
        critic_optimizer.step()
        of_critic.log(critic_loss=critic_loss)

        generator_optimizer.zero_grad()
        generator_loss = loss_function(critic(fake), ones)
        generator_loss.backward()
        generator_optimizer.step()
        of_generator.log(generator_loss=generator_loss)
        if step % 100 == 0:
            away = (fake.norm(dim=1) - 1).abs().mean()
            of_generator.log(distance_from_circle=away)
            print(f"step {step}: points lie {away:.2f} beside the circle")

for watcher in (of_generator, of_critic):
    recording = neuronwise.open(watcher.run_id)
    print(f"{watcher.run_name}: {len(recording.frames)} steps recorded; neuronwise show {watcher.run_id[:8]}")
