"""The models that essentia runs with TensorFlow: their files, the audio that they take, and their predictors."""
