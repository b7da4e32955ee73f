"""Songs of seven stems from one composition: the generator "synthetic"."""
