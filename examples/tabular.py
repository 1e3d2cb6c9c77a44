"""House prices from a made table: a small network in a plain PyTorch loop, watched."""

import torch
from torch import nn

import neuronwise
from neuronwise.data import make_houses

EPOCHS = 30

houses = make_houses(2000, seed=0)
numbers = houses.select_dtypes("number").drop(columns="price")
X = torch.tensor(numbers.to_numpy(), dtype=torch.float32)
X = (X - X.mean(0)) / X.std(0)
y = torch.log(torch.tensor(houses["price"].to_numpy(), dtype=torch.float32))[:, None]
y = (y - y.mean()) / y.std()
held_out, training = torch.arange(400), torch.arange(400, len(X))

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(X.shape[1], 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
loss_function = nn.MSELoss()

with neuronwise.watch(
    model, optimizer, loss=loss_function, validation=(X[held_out], y[held_out]), name="example-tabular"
) as watcher:
    for _ in range(EPOCHS):
        for rows in training[torch.randperm(len(training))].split(32):
            optimizer.zero_grad()
            loss = loss_function(model(X[rows]), y[rows])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            error = (model(X[held_out]) - y[held_out]).square().mean()
        watcher.log(held_out_r2=1 - error / y[held_out].var(correction=0))

recording = neuronwise.open(watcher.run_id)
print(f"R² on rows held out: {recording.history('held_out_r2').values[-1]:.3f}")
inactive = recording.neurons("0", "inactive")
print(f"neurons of the first layer that no row of the last batch seen activates: {(inactive.values[-1] == 1).sum()}")
print(f"neuronwise show {watcher.run_id[:8]}")
