"""Several processes of one configuration, and one side against another."""
