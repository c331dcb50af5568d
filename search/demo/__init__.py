"""A web page on this machine to try a model: drop an image, see its classes."""
