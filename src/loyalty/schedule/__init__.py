"""Due work that touches several rooms: what the jobs do, and what a test program's clock makes happen on its way."""
