"""The learners: one file each, on one loop of collect, forward, advantage, update, adapt."""
