"""Speed of refdet: where the time goes, compared with the limits of the machine."""
