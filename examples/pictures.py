"""Handwritten digits (scikit-learn's, 8 × 8): a convolutional network with batch normalisation and dropout, watched."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import neuronwise

EPOCHS = 8


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.dropout, self.output = nn.Dropout(0.3), nn.Linear(32 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        return self.output(self.dropout(x.flatten(1)))


digits = load_digits()
X = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
y = torch.tensor(digits.target)
held_out, training = torch.arange(300), torch.arange(300, len(X))

torch.manual_seed(0)
model = Net()
optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
watcher = neuronwise.watch(model, optimizer, name="example-pictures")
loss_function = watcher.observe(F.cross_entropy)

for epoch in range(1, EPOCHS + 1):
    model.train()
    for rows in training[torch.randperm(len(training))].split(32):
        optimizer.zero_grad()
        loss = loss_function(model(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(X[held_out]).argmax(1) == y[held_out]).float().mean()
    watcher.log(accuracy=accuracy)
    print(f"epoch {epoch}: accuracy {accuracy:.3f}")
watcher.close()

weights = neuronwise.open(watcher.run_id).history("conv1[3].weights")
print(f"filter 3 of the first layer, {weights.values.shape[1]} weights, was kept at {len(weights.steps)} steps")
print(f"neuronwise show {watcher.run_id[:8]} --neuron 'conv1[3]'")
