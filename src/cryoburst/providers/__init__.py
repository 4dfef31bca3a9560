"""Plug-ins that rent machines. They know the model, and never one another."""
