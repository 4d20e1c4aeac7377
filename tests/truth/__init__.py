"""Recordings made here and now, checked against what their own hooks saw: no clock, no rule, only who called what."""
