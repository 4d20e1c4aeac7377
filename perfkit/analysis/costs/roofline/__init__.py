"""How near work comes to what its device can do: by operator and kernel, by layer and phase, by step."""
