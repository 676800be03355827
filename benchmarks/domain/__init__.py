"""How well a network knows where it is wrong: warnings on a state that it was not trained on."""
