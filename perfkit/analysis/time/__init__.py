"""Where the time went: additive rows, and what asks for caution."""
