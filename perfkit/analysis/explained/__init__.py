"""Anyone's table of times: what the model's sizes and the card's say of it."""
