"""What an HTML report says: sections with their figures, tables and sentences."""
