"""The whole loop: texts are judged, a reward learns from that, a policy from the reward."""
