"""What a recording says of memory: lifetimes of what was allocated, and what is made of them."""
