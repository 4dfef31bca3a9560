"""What decides: pure steps over observations, and the tick that carries them out. It knows no plug-in by name."""
