"""Stories of three broker processes: what clients see when one of them dies, stands still, leaves or comes back."""
