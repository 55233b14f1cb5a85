"""What is made from a bundle for the hosts that run it: quantised variants, and the choice between them."""
