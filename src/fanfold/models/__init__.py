"""Models and how they are reached: wires over a narrow transport, fake and recorded models, names, prices."""
