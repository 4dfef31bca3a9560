"""This computer as a provider: a machine is a supervised process tree with its own root folder. Costs nothing."""
