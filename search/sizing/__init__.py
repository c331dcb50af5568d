"""Predicts and measures how much of this machine a training needs."""
