"""Which experiment: a space, its data, metric, sampler, pruner and budget, one file a study."""
