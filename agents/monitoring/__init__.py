"""What watches a training from outside: a second measure of what the policy writes."""
