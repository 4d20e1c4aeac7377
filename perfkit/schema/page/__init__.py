"""What an HTML report shows, before anything is drawn."""
