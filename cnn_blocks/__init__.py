"""What a network is: configurations as data, and the one builder of Keras models from them."""
