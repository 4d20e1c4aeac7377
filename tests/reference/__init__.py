"""A slow, plain reference of the attribution rules, and random traces to compare it with."""
