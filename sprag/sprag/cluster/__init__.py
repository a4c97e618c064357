"""What several trees of one app agree on: who may run what, and what they tell each other.

A tree alone agrees with itself, by an engine in its memory; the workers of an app by one that
their parent has, and serves over a socket. What the parent loads of this imports no user code.
"""
