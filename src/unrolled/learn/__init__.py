"""From a table to a trained model: table → windows → training loop → results and estimators."""
