"""How big things are that nobody sees whole: a swarm, or the network itself.

Estimators are pure and know nothing of where their numbers come from; `survey` and `census` ask the
network. Every result is an interval, and what cannot be told is not told.
"""
