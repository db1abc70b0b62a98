"""Looking into recurrent models: what every gate did, and how far the model remembers."""
