"""Mathematics of the learners, as pure functions of tensors: they know no model and no config."""
