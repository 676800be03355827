"""From a structure to spectra."""
