"""How far searches get in so many seconds of engine time, on surfaces whose truth is known."""
