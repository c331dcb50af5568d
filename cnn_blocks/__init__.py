"""Network configurations as data, and the one builder that makes Keras models from them."""
