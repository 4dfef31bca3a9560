"""A whole project in a store: push, pull, clone and status.

Three states of every name are compared: what is *here* (``walk``), what is in the *store* (``heads``), and the *base*,
in which both were in step last (``base``). What changed here alone is pushed, what changed there alone is pulled, and
what changed in both is a conflict that a person decides. Nothing is left out silently: whatever could not be carried is
in a list of ``Left``, with the reason.
"""
