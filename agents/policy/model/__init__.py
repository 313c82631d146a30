"""Language models as parts of a policy: loaded, tried out, adapted, and their output layer."""
