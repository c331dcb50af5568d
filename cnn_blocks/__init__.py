"""What a network is: configurations as data, and the one builder that turns them into Keras models."""
