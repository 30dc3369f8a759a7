"""Programs that use grange: `cart.py` is the smallest, `flights/` a whole run with real input. Run from the root."""
