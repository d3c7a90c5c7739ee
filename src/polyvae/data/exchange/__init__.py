"""Values that come after training, in the order and the codes of the data a run was trained on, and back."""
