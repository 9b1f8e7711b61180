"""What of an order is paid with points: what they are worth, within which bounds, and what goes back with a return."""
