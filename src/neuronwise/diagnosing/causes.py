"""The vocabulary of causes: for each what it is, why it hurts, how it is seen and mended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A root cause.

    Attributes:
        name: The word of the vocabulary, ``"lr_too_high"``.
        title: The same in words.
        why: Why it hurts, for a student.
        mechanism: The same for an expert.
        look: How to see it.
        mend: What to do.
        line: A line to type, for PyTorch.
        change: The change as a setting: what to what.
        reference: Where it is described.
    """

    name: str
    title: str
    why: str
    mechanism: str
    look: str
    mend: str
    line: str
    change: tuple[str, str]
    reference: str


_ALL = [
    Cause(
        "lr_too_high", "The learning rate is too high",
        "Each step is so long that it jumps over the valley it should walk down into, so the loss jumps or grows.",
        "Above 2 / (largest curvature) gradient descent diverges along that direction; ReLUs are thrown to "
        "where their gradient is 0.",
        "The loss jumps or grows, updates are a large part of the weights (‖ΔW‖ / ‖W‖ over 0.1), neurons die "
        "or saturate early.",
        "Lower the learning rate: to a tenth, or to what is usual for the optimizer; or warm it up.",
        "optimizer = torch.optim.{optimizer}(model.parameters(), lr={lower_lr:g})",
        ("learning_rate", "a tenth"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 8.3.1 and 11.4.1",
    ),
    Cause(
        "lr_too_low", "The learning rate is too low",
        "Each step is so short that the network has hardly moved when the training ends.",
        "The weights' relative change over the whole training is too small to fit anything; the loss falls "
        "in a straight line.",
        "‖W at the end - W at the beginning‖ / ‖W at the beginning‖ is small while the loss is still falling.",
        "Raise the learning rate: ten times, or to what is usual for the optimizer.",
        "optimizer = torch.optim.{optimizer}(model.parameters(), lr={higher_lr:g})",
        ("learning_rate", "ten times"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 11.4.1",
    ),
    Cause(
        "too_few_epochs", "The training was stopped too early",
        "The network was still getting better when the training ended.",
        "The loss's slope at the end is far from zero although steps are of a usual size.",
        "The loss still falls in the last fifth of the training.",
        "Train for more epochs; stop when the validation loss no longer falls.",
        "epochs = {more_epochs}",
        ("epochs", "three times"),
        "Prechelt: Early Stopping - but when? (1998)",
    ),
    Cause(
        "batch_too_large", "The batches are too large",
        "With so many rows in each batch there are only a few steps in an epoch, and each row counts little.",
        "Updates per epoch are few; the noise that helps generalisation is gone, and the rate was not scaled "
        "with the batch.",
        "A batch holds a large part of all rows, and the loss still falls at the end.",
        "Use batches of 32 to 64.",
        "loader = DataLoader(data, batch_size=32, shuffle=True)",
        ("batch_size", "32"),
        "Keskar et al.: On Large-Batch Training for Deep Learning (2017)",
    ),
    Cause(
        "batch_too_small", "The batches are too small",
        "Each step follows one or two rows only, so the steps point in all directions.",
        "The variance of the gradient estimate is too large for the learning rate, and of batch statistics "
        "for batch normalisation.",
        "Batches of 1 to 4 rows, and a loss that jumps.",
        "Use batches of 32.",
        "loader = DataLoader(data, batch_size=32, shuffle=True)",
        ("batch_size", "32"),
        "Masters, Luschi: Revisiting Small Batch Training (2018)",
    ),
    Cause(
        "wrong_optimizer", "The optimizer or its constants do not fit",
        "The optimizer's own settings keep the steps from going where they should.",
        "Momentum terms near 1, a large eps, or a rule whose steps are tiny by construction (Adadelta at "
        "0.001, Adagrad at 0.001).",
        "The settings of the optimizer, beside its usual ones, and the size of its updates.",
        "Use Adam with its usual settings.",
        "optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)",
        ("optimizer", "adam"),
        "Kingma, Ba: Adam (2015); Zeiler: ADADELTA (2012); Duchi et al.: AdaGrad (2011)",
    ),
    Cause(
        "wrong_loss", "The loss does not fit the task",
        "The loss measures something else than what you want the network to get right.",
        "Squared or absolute error on classes, or a cross-entropy on numbers: gradients vanish where the "
        "answer is most wrong, or the optimum is another.",
        "The loss's kind beside the targets.",
        "Classes: CrossEntropyLoss on logits; yes or no: BCEWithLogitsLoss; numbers: MSELoss.",
        "loss = {loss_line}",
        ("loss", "the one for the task"),
        "Bishop: Pattern Recognition and Machine Learning (2006), 5.2; Zhang, Sabuncu (2018) on the absolute error",
    ),
    Cause(
        "wrong_output_activation", "The output's activation function does not fit the loss or the targets",
        "The last layer cannot give the answers that the loss asks for.",
        "A softmax or sigmoid is applied twice or not at all, or bounds the output to a range that the targets leave.",
        "The functions after the last layer, beside the loss and the range of the targets.",
        "{output_mend}",
        "{output_line}",
        ("output_activation", "the one for the loss"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 6.2.2",
    ),
    Cause(
        "wrong_output_size", "The output layer has the wrong number of neurons",
        "There are not as many outputs as there are answers to choose from.",
        "A softmax of one output is always 1; one number cannot stand for several classes that have no order.",
        "The shape of the predictions beside the targets.",
        "Give the last layer one output per class, or one per number.",
        "last = nn.Linear({fan_in}, {outputs})",
        ("outputs", "one per class"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 6.2.2.3",
    ),
    Cause(
        "missing_hidden_activation", "Hidden layers have no activation function",
        "Without an activation function between them, several layers can do no more than one.",
        "A product of matrices is a matrix: the model is linear, whatever its depth.",
        "No function that bends lies between two layers.",
        "Put a ReLU behind every hidden layer.",
        "nn.Sequential(nn.Linear(…), nn.ReLU(), nn.Linear(…))",
        ("activation", "relu"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 6.1",
    ),
    Cause(
        "wrong_hidden_activation", "The hidden activation function does not fit",
        "The hidden layers' function passes on hardly anything of the gradient, or everything to one neuron.",
        "σ' is at most 0.25, so gradients shrink with each layer; a softmax in a hidden layer lets its units "
        "compete; exp explodes.",
        "Gradients of the first layer far below those of the last one; saturated neurons.",
        "Use ReLU (or GELU) in hidden layers.",
        "nn.Sequential(nn.Linear(…), nn.ReLU(), nn.Linear(…))",
        ("activation", "relu"),
        "Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks (2010)",
    ),
    Cause(
        "bad_init_symmetric", "The neurons of a layer began with the same weights",
        "Neurons that begin alike get the same corrections, and stay alike for ever: a layer of copies.",
        "The symmetry between units is never broken, as their gradients are the same.",
        "Rows of W are equal before the first step.",
        "Draw the weights at random (leave them as PyTorch made them).",
        "nn.init.kaiming_uniform_(layer.weight)",
        ("initialiser", "he"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 8.4",
    ),
    Cause(
        "bad_init_scale", "The weights began with the wrong size",
        "The first weights are so large or small that signals grow or fade from layer to layer.",
        "The variance of activations and gradients is multiplied at each layer by inputs * Var(W) (/ 2 for "
        "ReLU), far from 1.",
        "√(inputs) * root mean square of W before the first step, far from 0.5 to 2; biases far from 0.",
        "Use He's rule for ReLU, Glorot's for tanh, biases 0.",
        "nn.init.kaiming_normal_(layer.weight, nonlinearity='relu'); nn.init.zeros_(layer.bias)",
        ("initialiser", "he"),
        "He et al.: Delving Deep into Rectifiers (2015); Glorot, Bengio (2010)",
    ),
    Cause(
        "nonfinite_data", "The data holds NaN or infinity",
        "A number that is not one makes every sum that it enters not a number, and after one step all weights.",
        "NaN spreads through products and sums: one cell in a batch suffices to lose all parameters at the next "
        "update.",
        "How many inputs and targets are not finite.",
        "Fill or drop the missing values before training, and look where they come from.",
        "keep = torch.isfinite(x).all(1) & torch.isfinite(y.reshape(len(y), -1)).all(1); x, y = x[keep], y[keep]",
        ("data", "finite"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 4.1 and 11.5",
    ),
    Cause(
        "input_not_normalised", "The inputs are not scaled",
        "Inputs of very different or very large size make some weights learn far too fast and others hardly at all.",
        "The curvature along a weight goes with the square of its input: badly scaled inputs make the "
        "problem ill-conditioned.",
        "Root mean square of the inputs far from 1, or features of very different spread.",
        "Subtract each feature's mean and divide by its standard deviation, both of the training rows.",
        "x = (x - x_train.mean(0)) / x_train.std(0)",
        ("scaling", "standard"),
        "LeCun et al.: Efficient BackProp (1998), 4.3",
    ),
    Cause(
        "target_not_normalised", "The targets are not scaled",
        "The numbers to be predicted are so large that the last layer must first grow for a long time.",
        "The gradient of a squared error goes with the target's size, and the needed output weights are far "
        "from where they begin.",
        "Targets whose size is far from 1, an R² near 0.",
        "Standardise the targets with the training rows' mean and deviation, and undo it in the predictions.",
        "y = (y - y_train.mean()) / y_train.std()",
        ("target_scaling", "standard"),
        "Bishop: Neural Networks for Pattern Recognition (1995), 8.2",
    ),
    Cause(
        "preprocessing_mismatch", "The rows held out are treated otherwise than the training rows",
        "The network is examined on inputs or targets of another size than those it learned from.",
        "Mean and scale of inputs or targets differ between training and validation by far more than chance.",
        "Mean and deviation of each feature, and of the targets, in both.",
        "Apply the same transformation, fitted on the training rows, to both.",
        "x_val = (x_val - x_train.mean(0)) / x_train.std(0)",
        ("preprocessing", "the same for both"),
        "Sculley et al.: Hidden Technical Debt in Machine Learning Systems (2015)",
    ),
    Cause(
        "wrong_labels", "Labels are wrong",
        "What the network is told to answer is not what is right, so it learns something else.",
        "Labels of the training disagree with those held out, in which classes there are, or in what belongs to which.",
        "High skill in training beside a skill held out at or below chance; other classes in both.",
        "Look at rows with a large loss, and at the code that makes the labels.",
        "neuronwise unlearned {run}",
        ("labels", "checked"),
        "Northcutt, Jiang, Chuang: Confident Learning (2021)",
    ),
    Cause(
        "label_shape_mismatch", "Predictions and targets have different shapes",
        "Each prediction is compared with the targets of all rows, so the best answer is the mean.",
        "(n, 1) beside (n,) is broadcast to (n, n): the loss is minimal at a constant.",
        "The shapes that the loss is given.",
        "Give both the same shape.",
        "loss(output, y.reshape(output.shape))",
        ("target_shape", "that of the predictions"),
        "PyTorch warns of it: \"Using a target size that is different to the input size\"",
    ),
    Cause(
        "network_too_small", "The network is too small",
        "There are too few neurons to hold what is to be learned.",
        "The training error stays high with converged, well-conditioned training: the model's bias is too large.",
        "Few neurons in a hidden layer, a loss that no longer falls, and a low skill on the training rows.",
        "Give hidden layers more neurons.",
        "nn.Linear({fan_in}, {wider})",
        ("hidden", "four times as wide"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 5.2",
    ),
    Cause(
        "network_too_deep", "The network is too deep for how it is built",
        "Through so many layers the signal to the first ones is lost.",
        "Without normalisation or skip connections gradients shrink or grow with the depth.",
        "Many layers, and gradients of the first layer far from those of the last one.",
        "Use fewer layers, or normalisation and skip connections.",
        "nn.Sequential(nn.Linear(…), nn.BatchNorm1d(…), nn.ReLU(), …)",
        ("hidden", "fewer layers"),
        "He et al.: Deep Residual Learning for Image Recognition (2016)",
    ),
    Cause(
        "overfitting", "The network learns the training rows by heart",
        "It knows the rows it has seen, and not what they have in common.",
        "The generalisation gap is large: skill in training far above the one held out, and the validation loss rises.",
        "Skill in training minus skill held out; the least validation loss and the last one.",
        "Stop where the validation loss is least; use weight decay, dropout, or more data.",
        "optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)",
        ("early_stopping", "on"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 5.2 and 7.8",
    ),
    Cause(
        "too_few_data", "There are too few rows",
        "So few examples can be learned by heart without learning what matters.",
        "There are far more parameters than rows, and the gap between training and validation is large.",
        "The number of different rows that were seen, beside the parameters.",
        "Collect more rows, or augment them; else a smaller network and stronger regularisation.",
        "transforms.RandomHorizontalFlip()",
        ("rows", "more"),
        "Goodfellow, Bengio, Courville: Deep Learning (2016), 11.3",
    ),
    Cause(
        "excessive_regularisation", "Regularisation is too strong",
        "The network is punished for large weights, or robbed of its neurons, so much that it cannot learn.",
        "The penalty outweighs the loss: weights shrink to where the output is constant; or dropout's noise "
        "drowns the signal.",
        "Weight decay or dropout far above usual, weights that shrink, low skill on the training rows.",
        "Weight decay at most 1e-4 (SGD) or 1e-2 (AdamW), dropout at most 0.5.",
        "optimizer = torch.optim.{optimizer}(model.parameters(), lr={lr:g}, weight_decay=1e-4)",
        ("weight_decay", "1e-4"),
        "Srivastava et al.: Dropout (2014); Krogh, Hertz: A Simple Weight Decay Can Improve Generalization (1992)",
    ),
    Cause(
        "class_imbalance", "One class is far more frequent than another",
        "It is nearly always right to answer with the frequent class, so the rare one is never learned.",
        "The loss's mean is dominated by the frequent class; its prior shifts the decision.",
        "Rows of each class, and the share of each that is recognised.",
        "Weight the classes in the loss, or draw the rare class more often.",
        "loss = nn.CrossEntropyLoss(weight={weights})",
        ("class_weights", "balanced"),
        "He, Garcia: Learning from Imbalanced Data (2009)",
    ),
    Cause(
        "data_not_shuffled", "The rows are not shuffled",
        "Rows of one class follow one another, so the network learns one class and forgets the others, again "
        "and again.",
        "Batches are no sample of the data: gradients are correlated over many steps.",
        "How much the mean target varies from batch to batch, beside what it would in random order.",
        "Shuffle the rows in every epoch.",
        "loader = DataLoader(data, batch_size=32, shuffle=True)",
        ("shuffle", "True"),
        "Bottou: Stochastic Gradient Descent Tricks (2012), 5.1",
    ),
    Cause(
        "missing_zero_grad", "Gradients are not cleared between steps",
        "Each step also takes the steps of all batches before, so it goes ever further the wrong way.",
        "PyTorch adds to .grad; without zero_grad the update is a sum over all past gradients.",
        "Gradients of the step before are still there when a backward pass begins.",
        "Call optimizer.zero_grad() in every step.",
        "optimizer.zero_grad()",
        ("zero_grad", "every step"),
        "PyTorch: torch.optim.Optimizer.zero_grad",
    ),
    Cause(
        "wrong_train_eval_mode", "The model is in the wrong mode",
        "Dropout and batch normalisation do other things in training than in use, and the model was not told "
        "which it is.",
        "Dropout is off and batch normalisation's averages do not move in training; or both act in evaluation.",
        "The mode at training steps and at evaluations.",
        "model.train() before training, model.eval() before evaluating.",
        "model.train()  # and model.eval() before you evaluate",
        ("mode", "train while training, eval while evaluating"),
        "PyTorch: torch.nn.Module.train, .eval",
    ),
    Cause(
        "frozen_layer", "Layers are not trained",
        "Some layers stay as they were at the beginning, at random.",
        "Their parameters need no gradient, are held by no optimizer (as those of layers in a plain list), or are cut "
        "off from the loss by detach().",
        "Which parameters need gradients, which get one, and which the optimizer holds.",
        "Hand all parameters to the optimizer, with requires_grad on, and compute the loss from what they answer "
        "without detach() or no_grad() in between.",
        "optimizer = torch.optim.{optimizer}(model.parameters(), lr={lr:g})",
        ("frozen", "none"),
        "PyTorch: torch.Tensor.requires_grad_",
    ),
    Cause(
        "leaking_target", "A column holds the answer",
        "One column tells the target nearly exactly: it is probably known only when the answer is, and will "
        "be missing then.",
        "A feature that is a function of the target (or measured after it) makes held-out figures meaningless in use.",
        "The correlation of each column with the target.",
        "Leave the column out, if it is not known before the answer.",
        "neuronwise train DATA --target TARGET --drop {column}",
        ("columns", "without the leak"),
        "Kaufman et al.: Leakage in Data Mining (2012)",
    ),
    Cause(
        "identifier_feature", "A column only numbers the rows",
        "The number of a row tells nothing about it, and lets the network learn rows by heart.",
        "An identifier has no relation to the target beyond the order of collection; what is fitted to it "
        "does not generalise.",
        "Each value is there once, and they are whole numbers one after the other.",
        "Leave the column out.",
        "neuronwise train DATA --target TARGET --drop {column}",
        ("columns", "without the identifier"),
        "Kaufman et al.: Leakage in Data Mining (2012)",
    ),
    Cause(
        "code_as_number", "A code is fed as a number",
        "A zip code is a name made of digits: 98103 is not more than 98101, yet as a number the network takes it so.",
        "A nominal variable on an interval scale forces a smooth function over an arbitrary order.",
        "A column called like a code that is fed as one number.",
        "Feed it as categories.",
        "neuronwise train DATA --target TARGET --category {column}",
        ("columns", "categories"),
        "Hastie, Tibshirani, Friedman: The Elements of Statistical Learning (2009), 2.2",
    ),
    Cause(
        "duplicate_rows", "Rows held out were learned from",
        "Some rows of the examination are among those that were learned, so the figures look better than they are.",
        "The held-out estimate is biased by rows that are in both parts.",
        "The share of rows held out whose inputs are in the training, bit by bit.",
        "Remove duplicates before the split.",
        "frame.drop_duplicates()",
        ("rows", "without duplicates"),
        "Kapoor, Narayanan: Leakage and the reproducibility crisis (2023)",
    ),
]  # fmt: skip

CAUSES = {cause.name: cause for cause in _ALL}
"""All causes, by name."""

SYMPTOMS = {
    "dead_relu": "ReLU neurons that answer 0 to every row",
    "saturated_activation": "sigmoid or tanh neurons at the ends of their range",
    "vanishing_gradient": "gradients that reach the first layers hardly or not at all",
    "exploding_gradient": "gradients that grow beyond measure",
    "nonfinite": "NaN or infinity",
    "oscillating_loss": "a loss that jumps up and down",
    "loss_plateau": "a loss that does not fall",
    "overfit_gap": "much better in training than on rows held out",
    "constant_output": "the same answer to every row",
    "constant_feature": "a column with one value only",
    "duplicate_feature": "two columns that say the same",
    "outlier": "a value far from all others",
    "more_parameters_than_rows": "more parameters than rows of a table",
}
"""Symptoms, by name."""
