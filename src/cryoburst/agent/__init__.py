"""Runs on the machine: fetches inputs, runs the job's script, sends what it makes.

Standard library, model and a store's client only.

Home sends it as one archive through the store (``cryoburst.agent.archive``); nothing is installed on the machine.
"""
