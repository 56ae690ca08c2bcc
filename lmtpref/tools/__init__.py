"""One module for each outside tool; nothing below imports them."""
