"""A small transformer learns to sort eight numbers: clipped gradients, a schedule of the learning rate, watched."""

import torch
from torch import nn
from torch.nn import functional as F

import neuronwise

STEPS, LENGTH, NUMBERS, WIDTH = 400, 8, 16, 64


class Sorter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.places = nn.Embedding(NUMBERS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 128, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.output = nn.Linear(WIDTH, NUMBERS)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.output(self.encoder(self.numbers(numbers) + self.places(torch.arange(LENGTH))))


torch.manual_seed(0)
model = Sorter()
optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)

with neuronwise.watch(model, optimizer, name="example-transformer") as watcher:
    loss_function = watcher.observe(F.cross_entropy)
    for step in range(1, STEPS + 1):
        numbers = torch.randint(0, NUMBERS, (64, LENGTH))
        ordered = numbers.sort(1).values
        optimizer.zero_grad()
        logits = model(numbers)
        loss = loss_function(logits.flatten(0, 1), ordered.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            right = (logits.argmax(-1) == ordered).float().mean()
            watcher.log(right=right)
            print(f"step {step}: {right:.1%} of the places right")

recording = neuronwise.open(watcher.run_id)
for layer in ("encoder.layers.0.self_attn", "encoder.layers.0.linear1", "encoder.layers.1.linear1"):
    norms = recording.layer_norms(layer, "update_ratio")
    print(f"{layer}: changed by {norms.values[-1]:.2e} of its size at step {norms.steps[-1]}")
print(f"neuronwise show {watcher.run_id[:8]}")
