"""What work costs: operations and bytes, and how near a device comes to what it can do."""
