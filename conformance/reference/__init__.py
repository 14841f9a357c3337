"""The reference: what every quantity of a step must be, computed twice."""
