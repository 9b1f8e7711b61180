"""What people change by hand, with reason and actor: points given or taken, and lots that live longer."""
