"""Sends cryo-EM jobs from a project folder to machines elsewhere and brings the results back."""
