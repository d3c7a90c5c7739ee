"""What a user gives a trained run, in the order and the `codes` of its data (`given`), and gets back (`returned`)."""
