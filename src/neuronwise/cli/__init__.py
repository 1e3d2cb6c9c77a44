"""The command line: parses, calls `running`, prints. Heavy imports wait until a command needs them."""

from neuronwise.cli.main import main

__all__ = ["main"]
