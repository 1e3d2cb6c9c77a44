"""Files of a run that a person should open: their names, and what they show. Light, as every command needs them."""

FOLDER = "explanations"
"""Folder of a run that holds its explanations."""
PREDICTIONS, ATLAS = "predictions.html", "atlas.png"
"""In it the page on some held-out answers, and the picture of the first layer's neurons; a .json beside each."""
INSPECTOR = "inspector.html"
"""The inspector, in the run's folder and among its artifacts in MLflow."""

DIAGNOSIS, DIAGNOSIS_PAGE = "diagnosis.json", "diagnosis.md"
"""Why the training went as it did, for machines and for reading; likewise."""

SHOWN = {
    PREDICTIONS: "why some held-out rows were answered so",
    ATLAS: "what the first layer's neurons look for",
    INSPECTOR: "the network at work: every neuron, at every moment",
}
"""What a person sees in each."""
