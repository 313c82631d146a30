"""What the commands share: how they end, the signals that stop them, their threads."""
