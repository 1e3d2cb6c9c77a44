"""How a network learns: backpropagation, optimizers, and the training loop, which offers `Observer`."""

from neuronwise.learning.backpropagation import Gradients, LayerGradients, backpropagate
from neuronwise.learning.checkpoint import Checkpoint
from neuronwise.learning.divergence import Divergence
from neuronwise.learning.estimate import Estimate, estimate_training
from neuronwise.learning.evaluation import Evaluator
from neuronwise.learning.examples import example_gradients, neuron_gradients
from neuronwise.learning.fit import FitResult, fit
from neuronwise.learning.observers import Observer, Observers, Status, TrainingState
from neuronwise.learning.optimizers import (
    OPTIMIZERS,
    SGD,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
    clip_by_norm,
    get_optimizer,
)
from neuronwise.learning.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    ReduceOnPlateau,
    Schedule,
    Step,
    WarmUp,
    get_schedule,
    schedule_from_settings,
)
from neuronwise.learning.targets import ClassWeights, example_weights, prepare_targets

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Checkpoint",
    "ClassWeights",
    "Constant",
    "Cosine",
    "Divergence",
    "Estimate",
    "Evaluator",
    "FitResult",
    "Gradients",
    "LayerGradients",
    "Momentum",
    "Nesterov",
    "Observer",
    "Observers",
    "Optimizer",
    "RMSprop",
    "ReduceOnPlateau",
    "Schedule",
    "Status",
    "Step",
    "TrainingState",
    "WarmUp",
    "backpropagate",
    "clip_by_norm",
    "estimate_training",
    "example_gradients",
    "example_weights",
    "fit",
    "get_optimizer",
    "get_schedule",
    "neuron_gradients",
    "prepare_targets",
    "schedule_from_settings",
]
