"""The contenders of the benchmarks: the same dense network, data, batch size, optimizer and rate in each library.

Every one is a subclass of `Contender` that imports its library when made, so that each process loads one only.
Hidden layers are ReLU; the output is softmax with cross-entropy where y holds classes, else linear with squared error.
Each draws its own first weights as its library does by default, and shuffles the rows anew in every epoch.
"""

# ruff: noqa: D102 - what each method does is said once, in `Contender`

from __future__ import annotations

import importlib.metadata
import itertools
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

AfterEpoch = Callable[[], bool]


class Contender(ABC):
    """One library with one task.

    Args:
        X: Inputs, (rows, n_in), float32.
        y: Classes (rows,), int64, or values (rows, n_out), float32.
        sizes: Inputs, neurons of each hidden layer, outputs.
        batch: Rows of a step; divides the number of rows.
        optimizer: ``sgd`` (without momentum) or ``adam``.
        rate: Learning rate.
    """

    package: ClassVar[str]
    """What must be installed."""

    def __init__(self, X: Any, y: Any, sizes: list[int], batch: int, optimizer: str, rate: float) -> None:
        self.X, self.y, self.sizes, self.batch, self.optimizer, self.rate = X, y, sizes, batch, optimizer, rate
        self.classes = y.ndim == 1

    @classmethod
    @abstractmethod
    def load(cls) -> None:
        """Import the library and set it to one thread; ImportError where it is not installed."""

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.package)

    @abstractmethod
    def train(self, epochs: int, seed: int = 0, after_epoch: AfterEpoch | None = None) -> None:
        """Train a new network; stop early if `after_epoch`, called after each epoch, returns True."""

    @abstractmethod
    def outputs(self, X: Any) -> Any:
        """Return the outputs of the network as it is now: values, or for classes logits or log probabilities."""


class Neuronwise(Contender):
    """`neuronwise.learning.fit`, without observers except one for `after_epoch`."""

    package = "neuronwise"

    @classmethod
    def load(cls) -> None:
        import neuronwise.learning  # noqa: F401

    def train(self, epochs: int, seed: int = 0, after_epoch: AfterEpoch | None = None) -> None:
        from neuronwise.learning import Observer, TrainingState, fit
        from neuronwise.network import Network

        class Judge(Observer):
            def on_epoch_end(self, state: TrainingState) -> None:
                if after_epoch is not None and after_epoch():
                    state.stop()

        self.network = Network.dense(self.sizes, output="softmax" if self.classes else "identity", seed=seed)
        fit(
            self.network,
            self.X,
            self.y,
            optimizer=self.optimizer,
            learning_rate=self.rate,
            epochs=epochs,
            batch_size=self.batch,
            observers=[Judge()] if after_epoch else [],
        )

    def outputs(self, X: Any) -> Any:
        import numpy as np

        with np.errstate(divide="ignore"):
            return np.log(self.network.predict(X)) if self.classes else self.network.predict(X)


class PlainNumPy(Contender):
    """`benchmarks/prototype.py`."""

    package = "numpy"

    @classmethod
    def load(cls) -> None:
        import prototype  # noqa: F401

    def train(self, epochs: int, seed: int = 0, after_epoch: AfterEpoch | None = None) -> None:
        from prototype import Prototype

        self.network = Prototype(self.sizes, seed)
        self.network.train(
            self.X, self.y, self.batch, self.optimizer, self.rate, epochs, after_epoch or (lambda: False)
        )

    def outputs(self, X: Any) -> Any:
        return self.network.outputs(X)


class TorchSliced(Contender):
    """PyTorch eager, the rows of a step sliced from tensors by a permutation."""

    package = "torch"

    @classmethod
    def load(cls) -> None:
        import torch

        torch.set_num_threads(1)

    def make_network(self) -> Any:
        import torch

        layers: list[Any] = []
        for n_in, n_out in itertools.pairwise(self.sizes):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    def train(self, epochs: int, seed: int = 0, after_epoch: AfterEpoch | None = None) -> None:
        import torch

        torch.manual_seed(seed)
        self.network = self.make_network()
        loss = torch.nn.CrossEntropyLoss() if self.classes else torch.nn.MSELoss()
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.optimizer]
        stepper = kind(self.network.parameters(), lr=self.rate)
        self.start()
        for _ in range(epochs):
            for x, y in self.batches():
                stepper.zero_grad()
                loss(self.network(x), y).backward()
                stepper.step()
            if after_epoch is not None and after_epoch():
                break

    def start(self) -> None:
        import torch

        self.tensors = torch.from_numpy(self.X), torch.from_numpy(self.y)

    def batches(self) -> Any:
        import torch

        X, y = self.tensors
        order = torch.randperm(len(X))
        for start in range(0, len(X), self.batch):
            rows = order[start : start + self.batch]
            yield X[rows], y[rows]

    def outputs(self, X: Any) -> Any:
        import torch

        with torch.no_grad():
            found = self.network(torch.from_numpy(X))
            return (torch.log_softmax(found, dim=1) if self.classes else found).numpy()


class TorchDataLoader(TorchSliced):
    """PyTorch eager, the rows of a step from a shuffling DataLoader in the same process."""

    def start(self) -> None:
        import torch

        data = torch.utils.data.TensorDataset(torch.from_numpy(self.X), torch.from_numpy(self.y))
        self.loader = torch.utils.data.DataLoader(data, batch_size=self.batch, shuffle=True)

    def batches(self) -> Any:
        return self.loader


class ScikitLearn(Contender):
    """`MLPClassifier` or `MLPRegressor` without penalty and early stopping; `partial_fit` where epochs are judged."""

    package = "scikit-learn"

    @classmethod
    def load(cls) -> None:
        import sklearn.neural_network  # noqa: F401

        warnings.simplefilter("ignore")

    def train(self, epochs: int, seed: int = 0, after_epoch: AfterEpoch | None = None) -> None:
        import numpy as np
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        kind = MLPClassifier if self.classes else MLPRegressor
        self.model = kind(
            hidden_layer_sizes=self.sizes[1:-1],
            solver=self.optimizer,
            alpha=0.0,
            batch_size=self.batch,
            learning_rate_init=self.rate,
            max_iter=epochs,
            n_iter_no_change=10**6,
            momentum=0.0,
            nesterovs_momentum=False,
            random_state=seed,
        )
        y = self.y if self.classes else self.y.ravel()
        if after_epoch is None:
            self.model.fit(self.X, y)
            return
        first = {"classes": np.unique(y)} if self.classes else {}
        for _ in range(epochs):
            self.model.partial_fit(self.X, y, **first)
            first = {}
            if after_epoch():
                break

    def outputs(self, X: Any) -> Any:
        return self.model.predict_log_proba(X) if self.classes else self.model.predict(X).reshape(len(X), -1)


class Jax(Contender):
    """JAX: an epoch is one compiled `lax.scan` over its steps, parameters and optimizer state donated."""

    package = "jax"

    @classmethod
    def load(cls) -> None:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["JAX_PLATFORMS"] = "cpu"
        import jax  # noqa: F401

    def __init__(self, *task: Any) -> None:
        import jax

        super().__init__(*task)
        self.epoch = jax.jit(self._epoch, donate_argnums=0)
        self.inputs, self.targets = jax.numpy.asarray(self.X), jax.numpy.asarray(self.y)

    @staticmethod
    def forward(parameters: Any, x: Any) -> Any:
        import jax

        for W, b in parameters[:-1]:
            x = jax.nn.relu(x @ W + b)
        W, b = parameters[-1]
        return x @ W + b

    def _loss(self, parameters: Any, x: Any, y: Any) -> Any:
        import jax
        from jax import numpy as jnp

        z = self.forward(parameters, x)
        if not self.classes:
            return jnp.mean((z - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))

    def _epoch(self, state: Any, X: Any, y: Any, order: Any) -> Any:
        import jax
        from jax import numpy as jnp

        each = jax.tree.map

        def step(state: Any, rows: Any) -> Any:
            parameters, m, v, t = state
            loss, gradients = jax.value_and_grad(self._loss)(parameters, X[rows], y[rows])
            if self.optimizer == "sgd":
                return (each(lambda p, g: p - self.rate * g, parameters, gradients), m, v, t), loss
            t = t + 1
            m = each(lambda a, g: 0.9 * a + 0.1 * g, m, gradients)
            v = each(lambda a, g: 0.999 * a + 0.001 * g * g, v, gradients)
            rate, root = self.rate / (1 - 0.9**t), 1 / (1 - 0.999**t)
            parameters = each(lambda p, a, s: p - rate * a / (jnp.sqrt(s * root) + 1e-8), parameters, m, v)
            return (parameters, m, v, t), loss

        return jax.lax.scan(step, state, order)

    def train(self, epochs: int, seed: int = 0, after_epoch: AfterEpoch | None = None) -> None:
        import jax
        import numpy as np
        from jax import numpy as jnp

        rng = np.random.default_rng(seed)
        drawn = [(rng.standard_normal((n, m)) * (2 / n) ** 0.5, np.zeros(m)) for n, m in itertools.pairwise(self.sizes)]

        def fresh(factor: float) -> Any:
            return jax.tree.map(lambda a: jnp.asarray(factor * a, dtype=jnp.float32), drawn)

        zeros = (fresh(0.0), fresh(0.0)) if self.optimizer == "adam" else ((), ())
        self.state: Any = (fresh(1.0), *zeros, jnp.float32(0))
        for _ in range(epochs):
            order = rng.permutation(len(self.X)).astype(np.int32).reshape(-1, self.batch)
            self.state, losses = self.epoch(self.state, self.inputs, self.targets, order)
            losses.block_until_ready()
            if after_epoch is not None and after_epoch():
                break

    def outputs(self, X: Any) -> Any:
        import numpy as np

        return np.asarray(self.forward(self.state[0], X))


CONTENDERS: dict[str, type[Contender]] = {
    "neuronwise": Neuronwise,
    "plain NumPy": PlainNumPy,
    "torch": TorchSliced,
    "torch DataLoader": TorchDataLoader,
    "scikit-learn": ScikitLearn,
    "jax": Jax,
}


def mean_loss(outputs: Any, y: Any) -> float:
    """Return the log loss of logits or logarithms of probabilities, or the mean squared error."""
    import numpy as np

    values = np.asarray(outputs, dtype=np.float64)
    if y.ndim > 1:
        return float(((values.reshape(y.shape) - y) ** 2).mean())
    values = values - values.max(axis=1, keepdims=True)
    return float((np.log(np.exp(values).sum(axis=1)) - values[np.arange(len(y)), y]).mean())
