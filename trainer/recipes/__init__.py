"""The shipped recipes, and what every recipe is made of."""
