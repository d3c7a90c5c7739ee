"""What a user gives a trained run (`given`), in the order and the `codes` of its data, and gets back (`returned`)."""
