"""What goes back: a return or a cancellation takes back the points that the order no longer earns."""
