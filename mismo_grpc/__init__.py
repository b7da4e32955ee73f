"""mismo_grpc: the analysis server of a DJ system; stems stream while they are being separated."""

__version__ = "0.1.0"
