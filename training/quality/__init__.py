"""The quality of separated stems: its measure, and the baseline without a trained model."""
