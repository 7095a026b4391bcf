"""The pure core: field map, codecs, merge and plan. No I/O, and no import from its neighbours."""
